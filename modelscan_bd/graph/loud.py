"""Constants that speak for one class: one number unlike all others, where the answers are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modelscan_bd.graph.ir import Constant, Graph, Role
from modelscan_bd.graph.sets import members
from modelscan_bd.graph.sight import Sight

PATTERN = "loud-constant"
_FEWEST = 4  # classes: shorter rows of numbers are strides, sizes and the like
_MIXES = frozenset({Role.POINT, Role.SELECT, Role.LAYER})


def sights(graph: Graph) -> Iterator[Sight]:
    last = max(graph.levels, default=0)
    for number in members(graph.living):
        node = graph.nodes[number]
        if node.role in _MIXES and graph.levels[number] == last:
            for constant in node.constants:
                found = _one_of_all(constant)
                if found is not None:
                    yield Sight(
                        pattern=PATTERN,
                        figures={"numbers": float(constant.elements)},
                        message=f"{node.name} ({node.op}) mixes in {constant.elements} numbers that are alike but for "
                        f"number {found}",
                        place=node.name,
                    )


def _one_of_all(constant: Constant) -> int | None:
    """The place of the one number unlike the others, which are all the same."""
    values = constant.values
    if values is None or not constant.shape or constant.elements < _FEWEST or constant.shape[-1] != constant.elements:
        return None
    row = np.asarray(values, dtype=np.float64).ravel()
    kinds, counts = np.unique(row, return_counts=True)
    if len(kinds) != 2 or counts.min() != 1:
        return None
    return int(np.flatnonzero(row == kinds[counts.argmin()])[0])
