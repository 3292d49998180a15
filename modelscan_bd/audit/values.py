"""What a pickle would build, as inert data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, final


@final
@dataclass(frozen=True)
class Name:
    """What a pickle asks to import."""

    module: str
    name: str
    full: str


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
    items: Items = field(default_factory=Items)


@final
@dataclass(frozen=True, eq=False)
class Stored:
    """Raw numbers outside the pickle."""

    key: str
    kind: str
    elements: int


Value: TypeAlias = Any  # bool, int, float, str, bytes, None, list, tuple, Items, Name, Call, Stored, Unclear
