"""Measures in a process of its own, hears what it tells, and ends it when its time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

from modelscan_bd import errors
from modelscan_bd.events import CutShort, Event, Loaded, Planned
from modelscan_bd.loading.limits import Limits
from modelscan_bd.machine import memory
from modelscan_bd.settings import Settings
from modelscan_bd.supervision.messages import Broke, Done, Exhausted, News, Order, Refused, Tick
from modelscan_bd.supervision.process import CRASH, Process
from modelscan_bd.watch import Watch

_STARTING = 120.0  # seconds until the libraries must be there
_GLANCE = 0.5  # seconds
_MOST_UNREAD = 100  # ticks that may have been told in time and not been heard
_MOST_NEWS = 1000  # more than any measurement has to tell
_SHARE = 0.75  # of the machine's memory
_LATE = "Give it more time with --timeout, or leave detectors out with --effort or --detectors."
_LONG = "A file may be made to take so long; see where it comes from."
_ERRORS: Mapping[str, Callable[[str, str], Exception]] = {
    "UsageError": lambda what, remedy: errors.UsageError(what, remedy=remedy),
    "UnreadableModel": lambda what, remedy: errors.UnreadableModel(what, remedy=remedy),
    "UnsupportedModel": lambda what, remedy: errors.UnsupportedModel(what, remedy=remedy),
    "UnsafeModel": lambda what, remedy: errors.UnsafeModel(what, remedy=remedy),
    "CannotMeasure": lambda what, _: errors.CannotMeasure(what),
}


class Unforeseen(RuntimeError):
    """An error that nobody foresaw, in the other process; its trace there is the cause."""


@final
@dataclass(frozen=True, kw_only=True)
class Stage:
    """How long the process may now be at work, and what to say when it was longer."""

    ends: float  # on the watchdog's clock
    complaint: str = ""
    hint: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Watchdog:
    """Measures as `scan.here` does, elsewhere. Raises CutShort where a limit ends it."""

    memory: int | None = None  # bytes, on top of the libraries; None: most of what the machine has
    grace: float = 5.0  # seconds after the time limit in which it may still end by itself
    debug: bool = False
    clock: Callable[[], float] = time.monotonic

    def __call__(self, settings: Settings, watch: Watch) -> Iterator[Event]:
        with TemporaryDirectory(prefix="bdscan-", ignore_cleanup_errors=True) as folder:
            order = Order(settings=settings, memory=self._most(), folder=Path(folder), debug=self.debug)
            with Process(order) as process:
                yield from self._listen(process, settings.timeout, watch)

    def _most(self) -> int | None:
        whole = memory()
        return self.memory or (whole and int(_SHARE * whole))

    def _listen(self, process: Process, timeout: float | None, watch: Watch) -> Iterator[Event]:
        planned = self.clock()
        starting = f"the process that measures was not ready after {_STARTING:.0f} s"
        stage = Stage(ends=planned + _STARTING, complaint=starting)
        for _ in range(_MOST_NEWS):
            match message := self._next(process, stage, watch):
                case Done():
                    return
                case Refused() | Exhausted() | Broke():
                    raise _error(message)
                case Planned():
                    planned = self.clock()
                    stage = self._loading(planned, timeout)
                case Loaded():
                    stage = self._measuring(planned, timeout)
            yield message
        raise CutShort("the process that measured says more than there is to say", hint=CRASH)

    def _next(self, process: Process, stage: Stage, watch: Watch) -> News:
        """What is told next but ticks. Raises CutShort where nothing is told in time."""
        unread = _MOST_UNREAD
        while True:
            late = self.clock() >= stage.ends  # looked at first: what was told in time is heard
            message = process.hear(_GLANCE)
            if message is not None and not isinstance(message, Tick):
                return message
            unread -= late
            if late and (message is None or not unread):
                raise CutShort(f"{stage.complaint}, and was ended", hint=stage.hint)
            if message is not None:
                watch.tick(message.share, message.note)

    def _loading(self, began: float, timeout: float | None) -> Stage:
        most = Limits().seconds
        within = most if timeout is None else min(most, timeout + self.grace)
        return Stage(
            ends=began + within,
            complaint=f"the model was still being loaded after {within:.0f} s",
            hint=_LONG if within == most else _LATE,
        )

    def _measuring(self, began: float, timeout: float | None) -> Stage:
        if timeout is None:
            return Stage(ends=math.inf)
        within = timeout + self.grace
        complaint = f"it was still running after {within:.0f} s, where the time limit is {timeout:g} s"
        return Stage(ends=began + within, complaint=complaint, hint=_LATE)


def _error(message: Refused | Exhausted | Broke) -> Exception:
    """What the message stands for."""
    match message:
        case Exhausted():
            return CutShort(message.what, hint=message.hint)
        case Broke():
            error = Unforeseen(message.error)
            error.__cause__ = RuntimeError(f"\n{message.trace}")
            return error
    return _ERRORS[message.kind](message.what, message.remedy)
