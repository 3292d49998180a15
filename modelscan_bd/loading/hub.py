"""`hf-hub:OWNER/NAME`: fetches config.json and one weights file, which then pass the same checks as any folder."""

from __future__ import annotations

import contextlib
import logging
import re
from pathlib import Path

from modelscan_bd.errors import UsageError
from modelscan_bd.loading.folder import WEIGHTS

HUB = "hf-hub:"
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def fetch(target: str) -> Path:
    """The folder that they lie in now. Raises UsageError where they cannot be had."""
    name, _, revision = target.removeprefix(HUB).partition("@")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{target} is no name of a model on the Hugging Face hub", remedy="Write hf-hub:OWNER/NAME.")
    from huggingface_hub.errors import EntryNotFoundError

    with contextlib.suppress(EntryNotFoundError):
        _download(name, "config.json", revision)
    for file in WEIGHTS:
        with contextlib.suppress(EntryNotFoundError):
            return _download(name, file, revision).parent
    raise UsageError(f"{target} holds none of {', '.join(WEIGHTS)}")


def _download(name: str, file: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it announces every retry; we say how it ended
    try:
        return Path(hf_hub_download(name, file, revision=revision or None))
    except LocalEntryNotFoundError as error:
        raise _unreachable(name) from error
    except EntryNotFoundError:
        raise
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _unreachable(name) from error


def _unreachable(name: str) -> UsageError:
    return UsageError(
        f"{name} cannot be fetched from the Hugging Face hub; it is not there, private, or this machine is offline",
        remedy="Download the repository and name its folder.",
    )
