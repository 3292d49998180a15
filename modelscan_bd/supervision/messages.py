"""What the two processes say to each other: a line of JSON for each message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from modelscan_bd.events import Event
from modelscan_bd.settings import Settings
from modelscan_bd.supervision.wire import packed, unpacked


@final
@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be measured, and how: the first and only thing that the working process is told."""

    settings: Settings
    memory: int | None  # bytes on top of the libraries; None: no bound
    folder: Path  # the only one that may be written to
    debug: bool


@final
@dataclass(frozen=True, kw_only=True)
class Tick:
    """How far the work has come: see `watch.Watch`."""

    share: float
    note: str


@final
@dataclass(frozen=True, kw_only=True)
class Refused:
    """Our own kind of error, which the waiting process raises again."""

    kind: Literal["UsageError", "UnreadableModel", "UnsupportedModel", "UnsafeModel", "CannotMeasure"]
    what: str
    remedy: str


@final
@dataclass(frozen=True, kw_only=True)
class Exhausted:
    """A limit was hit, and the work ended in good order."""

    what: str
    hint: str


@final
@dataclass(frozen=True, kw_only=True)
class Broke:
    """An error that nobody foresaw."""

    error: str
    trace: str


@final
@dataclass(frozen=True, kw_only=True)
class Done:
    """Nothing more will be said."""


News: TypeAlias = Event | Refused | Exhausted | Broke | Done
Message: TypeAlias = Tick | News


def line(message: object) -> bytes:
    return json.dumps(packed(message)).encode("ascii") + b"\n"


class Senseless(Exception):
    """What was said is no message."""


def read(text: bytes, kind: Any) -> Any:
    """The message of type `kind`. Raises Senseless for what is none, however it is meant."""
    try:
        return unpacked(json.loads(text), kind)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise Senseless(str(error)) from error
