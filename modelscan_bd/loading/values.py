"""What a pickle would build, as inert data: nothing here is ever called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, final


@final
@dataclass(frozen=True)
class Global:
    """A name that the pickle asks to import."""

    full: str


@final
@dataclass(eq=False)
class Items:
    """A dictionary. Keys stay unhashed: they may be anything."""

    pairs: list[tuple[Value, Value]] = field(default_factory=list)


@final
@dataclass(eq=False)
class Call:
    """`name(*args)`, or `name.__new__(name, *args)` where `new`."""

    name: Global
    args: tuple[Value, ...]
    new: bool
    items: Items = field(default_factory=Items)


@final
@dataclass(frozen=True, eq=False)
class Stored:
    """A storage: the raw numbers outside the pickle."""

    key: str
    elements: int
    itemsize: int


Plain: TypeAlias = bool | int | float | complex | str | bytes | bytearray | None
Value: TypeAlias = Plain | list[Any] | tuple[Any, ...] | Items | Global | Call | Stored


def text(value: Value) -> str:
    """A short form for messages."""
    if isinstance(value, Global):
        return value.full
    if isinstance(value, Call):
        return f"{value.name.full}(...)"
    return type(value).__name__
