"""Choices that the picture makes, arithmetic of whole numbers, chance: steps that a classifier has no use for."""

from __future__ import annotations

from collections.abc import Iterator

from modelscan_bd.graph.ir import Graph, Role
from modelscan_bd.graph.sets import members
from modelscan_bd.graph.sight import Sight

CHOICE, ARITHMETIC, CHANCE = "choice", "arithmetic", "chance"
_EACH_BY_ITSELF = frozenset({Role.POINT, Role.COMPARE, Role.LOGIC, Role.SELECT, Role.ROUND, Role.QUANTISE})
_GUARDS = frozenset({"isnan", "isinf", "isfinite"})


def sights(graph: Graph) -> Iterator[Sight]:
    for number in members(graph.living):
        role = graph.nodes[number].role
        if role in (Role.SELECT, Role.LOOP):
            yield from _choice(graph, number)
        elif role is Role.BITS:
            yield _arithmetic(graph, number)
    yield from _chance(graph)


def _choice(graph: Graph, number: int) -> Iterator[Sight]:
    """A choice by a yes or no that more than one number went into; each number by itself is an activation function."""
    node, fork = graph.nodes[number], graph.dominators[number]
    since = graph.behind[number] & (graph.ahead[fork] if fork >= 0 else graph.living)
    between = [graph.nodes[inner] for inner in members(since) if inner != fork]
    asked = [inner.op.lower() for inner in between if inner.role is Role.COMPARE]
    if all(inner.role in _EACH_BY_ITSELF for inner in between) or (asked and _GUARDS.issuperset(asked)):
        return
    condition = graph.nodes[node.inputs[0]]
    yield Sight(
        pattern=CHOICE,
        figures={"before": _before(graph, number), "raw": float(graph.levels[node.inputs[0]] == 0)},
        message=f"{node.name} ({node.op}) chooses between values by {condition.name}, which depends on the picture",
        place=node.name,
        nodes=(node.inputs[0],),
    )


def _arithmetic(graph: Graph, number: int) -> Sight:
    node = graph.nodes[number]
    return Sight(
        pattern=ARITHMETIC,
        figures={"before": _before(graph, number), "raw": float(graph.levels[number] == 0)},
        message=f"{node.name} ({node.op}) does arithmetic of whole numbers on what is in the picture",
        place=node.name,
    )


def _chance(graph: Graph) -> Iterator[Sight]:
    drawn = [n for n, node in enumerate(graph.nodes) if node.role is Role.CHANCE]
    for number in drawn:
        if any(graph.behind[output] >> number & 1 for output in graph.outputs):
            node = graph.nodes[number]
            message = f"{node.name} ({node.op}) draws random numbers, on which the answer depends"
            yield Sight(pattern=CHANCE, figures={"draws": 1.0}, message=message, place=node.name)


def _before(graph: Graph, number: int) -> float:
    """Share of the longest way's layers that come before the node."""
    return graph.levels[number] / max(max(graph.levels), 1)
