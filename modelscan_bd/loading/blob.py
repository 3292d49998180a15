"""The bytes of an untrusted file, read once: what is checked is what is loaded."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import final

from modelscan_bd.errors import UnreadableModel, UnsupportedModel, UsageError
from modelscan_bd.loading.limits import Limits


@final
@dataclass(frozen=True, kw_only=True)
class Blob:
    path: Path
    data: bytes
    sha256: str


def read(path: Path, limits: Limits) -> Blob:
    """Reads a regular file within `limits.bytes`. Raises UsageError if there is none, UnreadableModel if too large."""
    try:
        data = _contents(path, limits)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}", remedy="Check the path.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise UnsupportedModel(f"{path} is empty", remedy="Download or export it again.")
    return Blob(path=path, data=data, sha256=hashlib.sha256(data).hexdigest())


def _contents(path: Path, limits: Limits) -> bytes:
    # O_NONBLOCK: opening a named pipe must not wait for its other end
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is not a regular file", remedy="Name a model file or a folder that holds one.")
        if status.st_size > limits.bytes:
            size = f"{status.st_size / 2**30:.1f} GiB"
            raise UnreadableModel(f"{path} has {size}, more than the {limits.bytes / 2**30:.1f} GiB allowed")
        return file.read(status.st_size)  # and no more, however it grows
