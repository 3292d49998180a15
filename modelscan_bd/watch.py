"""Watches: who hears how far a scan has come, and who may stop it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable


@runtime_checkable
class Watch(Protocol):
    """Hears how far a long computation has come. It may raise to stop it (interrupt, time limit)."""

    def tick(self, share: float, note: str) -> None: ...


class Silent:
    """A watch nobody looks at."""

    def tick(self, share: float, note: str) -> None:  # noqa: ARG002
        return None


class OutOfTime(Exception):
    """Raised out of `tick` to end a computation that has used up its time."""


@final
@dataclass(frozen=True, kw_only=True)
class Deadline:
    """Passes ticks on until `ends` (seconds on `clock`), then raises OutOfTime. Without an end it only passes on."""

    inner: Watch
    ends: float | None
    clock: Callable[[], float] = time.monotonic

    def tick(self, share: float, note: str) -> None:
        if self.ends is not None and self.clock() >= self.ends:
            raise OutOfTime(
                f"the time limit was reached at {share:.0%} ({note})" if note else "the time limit was reached"
            )
        self.inner.tick(share, note)


@final
@dataclass(frozen=True, kw_only=True)
class Part:
    """Reports one of several computations, which takes the shares from `start` to `start + width` of the whole."""

    inner: Watch
    start: float
    width: float
    title: str

    def tick(self, share: float, note: str) -> None:
        self.inner.tick(self.start + self.width * share, f"{self.title}: {note}" if note else self.title)
