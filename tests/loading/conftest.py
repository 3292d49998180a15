"""What the museum of hostile files needs: a canary that no file may touch, and one way to say "refused"."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelscan_bd.errors import BdscanError
from modelscan_bd.loading import load

Refused = Callable[..., str]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that only an executed payload would make."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "a payload ran"


@pytest.fixture
def payload(canary: Path) -> object:
    """Runs a shell command when it is unpickled."""

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    return Payload()


@pytest.fixture
def refused(request: pytest.FixtureRequest, canary: Path) -> Refused:
    """Loads a target and expects one error class and some words in its one sentence, within ten seconds of our time.

    With BDSCAN_HOSTILE_TABLE set, a line of JSON per refusal is added to that file.
    """

    def check(
        target: Path | str,
        error: type[BdscanError],
        *words: str,
        reader: Callable[..., object] = load,
        **options: object,
    ) -> str:
        began = time.process_time()
        with pytest.raises(BdscanError) as caught:
            reader(str(target), **options)
        message = str(caught.value)
        _record(request.node.name, caught.value, message)
        assert type(caught.value) is error, message
        assert "\n" not in message
        assert len(message) < 700
        assert all(word in message for word in words), message
        assert not canary.exists()
        assert time.process_time() - began < 10
        return message

    return check


def _record(name: str, error: BdscanError, message: str) -> None:
    if table := os.environ.get("BDSCAN_HOSTILE_TABLE"):
        row = {"input": name, "error": type(error).__name__, "code": error.exit_code, "message": message}
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
