"""Choices that the picture makes, arithmetic of whole numbers, chance: steps that a classifier has no use for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from modelscan_bd.graph.ir import Graph, Role
from modelscan_bd.graph.sets import Bits, bits, members, union
from modelscan_bd.graph.sight import Sight

CHOICE, ARITHMETIC, CHANCE = "choice", "arithmetic", "chance"
_EACH_BY_ITSELF = frozenset({Role.POINT, Role.COMPARE, Role.LOGIC, Role.SELECT, Role.ROUND, Role.QUANTISE})
_GUARDS = frozenset({"isnan", "isinf", "isfinite"})


@final
@dataclass(frozen=True, kw_only=True)
class _Kinds:
    """Which nodes are what: as sets, for a file may have thousands of choices with thousands of nodes before each."""

    by_itself: Bits
    asking: Bits
    guards: Bits


def sights(graph: Graph) -> Iterator[Sight]:
    asking = bits(n for n, node in enumerate(graph.nodes) if node.role is Role.COMPARE)
    kinds = _Kinds(
        by_itself=bits(n for n, node in enumerate(graph.nodes) if node.role in _EACH_BY_ITSELF),
        asking=asking,
        guards=bits(n for n in members(asking) if graph.nodes[n].op.lower() in _GUARDS),
    )
    for number in members(graph.living):
        role = graph.nodes[number].role
        if role in (Role.SELECT, Role.LOOP):
            yield from _choice(graph, number, kinds)
        elif role is Role.BITS:
            yield _arithmetic(graph, number)
    yield from _chance(graph)


def _choice(graph: Graph, number: int, kinds: _Kinds) -> Iterator[Sight]:
    """A choice by a yes or no that more than one number went into; each number by itself is an activation function."""
    node, fork = graph.nodes[number], graph.dominators[number]
    since = graph.behind[number] & (graph.ahead[fork] if fork >= 0 else graph.living)
    between = since & ~bits((fork,)) if fork >= 0 else since
    asked = between & kinds.asking
    if not between & ~kinds.by_itself or (asked and not asked & ~kinds.guards):
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
    drawn = bits(n for n, node in enumerate(graph.nodes) if node.role is Role.CHANCE)
    for number in members(drawn & union(graph.behind[output] for output in graph.outputs)):
        node = graph.nodes[number]
        message = f"{node.name} ({node.op}) draws random numbers, on which the answer depends"
        yield Sight(pattern=CHANCE, figures={"draws": 1.0}, message=message, place=node.name)


def _before(graph: Graph, number: int) -> float:
    """Share of the longest way's layers that come before the node."""
    return graph.levels[number] / max(graph.depth, 1)
