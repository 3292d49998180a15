"""What a pattern saw in a graph: figures and a place, no opinion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class Sight:
    """`figures` are what rules judge; `nodes` are those whose values are suspected, the likeliest first."""

    pattern: str
    figures: Mapping[str, float]
    message: str  # one sentence: what, where
    place: str
    nodes: tuple[int, ...] = ()
    column: int | None = None  # of such a value, the one feature that is suspected
    target: int | None = None  # the class that it leads to, where that was shown
