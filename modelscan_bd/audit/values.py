"""What a pickle would build, as inert data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

from modelscan_bd.audit.names import Grade


@final
@dataclass(frozen=True)
class Name:
    """What a pickle asks to import, as Python 3 calls it, and where it asks first."""

    name: str
    full: str
    grade: Grade
    position: int


@final
@dataclass(eq=False)
class Items:
    """A dictionary. Keys stay unhashed: they may be anything."""

    pairs: list[tuple[Value, Value]] = field(default_factory=list)


@final
@dataclass(eq=False)
class Call:
    """What a call would give: `function(*args)`, or `function.__new__(function, *args)` where `new`."""

    function: Value
    args: Value
    new: bool
    position: int
    items: Items = field(default_factory=Items)  # put into it later
    states: list[tuple[Value, int]] = field(default_factory=list)  # given to it later, and where


@final
@dataclass(frozen=True, eq=False)
class Stored:
    """Raw numbers outside the pickle."""

    key: str
    kind: str
    elements: int
    whole: bool = True  # not a view of another storage


Value: TypeAlias = Any  # bool, int, float, str, bytes, None, list, tuple, Items, Name, Call, Stored, Unclear
