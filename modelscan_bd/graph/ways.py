"""Ways around the network: a branch of the graph that passes few layers, and joins one that passes many.

Every join is looked at from the last node that all its ways come from (its dominator). Residual connections pass a
block or two; a backdoor has to pass nearly all, or it would have to survive them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from modelscan_bd.graph.ir import Graph, Role
from modelscan_bd.graph.sets import Bits, bits, flags, members
from modelscan_bd.graph.sight import Sight

PATTERN = "way-around"
_MOST_ENTRIES = 8  # of one join, that are worth holding
_DECIDING = frozenset({Role.COMPARE, Role.LOGIC, Role.SELECT, Role.INDEX, Role.ROUND, Role.BITS, Role.LOOP, Role.POOL})


@final
@dataclass(frozen=True, kw_only=True)
class Way:
    """One input of a join, and what lies on it alone since the ways parted at `fork`.

    Shares are of all layers, or weights, of the graph; `passed` is of those that are not on this way.
    """

    joint: int
    entry: int  # the node that brings it to the join
    sources: tuple[int, ...]  # of each way that meets there, this one first: see `_Scales`
    fork: int
    layers: int  # on this way alone
    weights: float  # on this way alone
    passed: float  # layers that it goes around
    before: float  # layers that the join's value depends on
    raw: bool  # the fork is the image, before any layer
    decides: bool  # something on the way, or the join, makes little of much: compares, counts, pools


def sights(graph: Graph) -> Iterator[Sight]:
    """Of each join, the way with the fewest layers of its own."""
    for way in ways(graph):
        joint, entry = graph.nodes[way.joint], graph.nodes[way.entry]
        start = "the image" if way.raw else graph.nodes[way.fork].name
        yield Sight(
            pattern=PATTERN,
            figures=figures(way),
            message=f"{entry.name} brings {start} to {joint.name} ({joint.op}) around {way.passed:.0%} of all layers, "
            f"by {way.layers} of its own",
            place=joint.name,
            nodes=way.sources,
        )


def figures(way: Way) -> Mapping[str, float]:
    return {
        "layers": float(way.layers),
        "weights": way.weights,
        "passed": way.passed,
        "before": way.before,
        "raw": float(way.raw),
        "decides": float(way.decides),
    }


def ways(graph: Graph) -> Iterator[Way]:
    """The lightest way of each living join, where it goes around a layer or lies before all of them."""
    scales = _Scales(graph)
    for joint in members(graph.living):
        if graph.nodes[joint].joins:
            yield from _lightest(graph, joint, scales)


@final
class _Scales:
    """By what shares of a graph are measured."""

    def __init__(self, graph: Graph) -> None:
        self.layers = bits(n for n, node in enumerate(graph.nodes) if node.is_layer) & graph.living
        self.deciding = bits(n for n, node in enumerate(graph.nodes) if node.role in _DECIDING)
        self._weights = np.array([node.weights for node in graph.nodes], dtype=np.float64)
        self._partings = _partings(graph)
        self._total = max(self.weights(graph.living), 1.0)

    def source(self, entry: int, fork: int) -> int:
        """Where to hold a branch: where it parts from others, or at its entry. A fork is where several take from."""
        parting = self._partings[entry]
        return entry if parting in (-1, fork) else parting

    def weights(self, nodes: Bits) -> float:
        """The numbers that the file brings along for them."""
        return float(self._weights @ flags(nodes, len(self._weights)))

    def share(self, nodes: Bits) -> float:
        return self.weights(nodes) / self._total


def _lightest(graph: Graph, joint: int, scales: _Scales) -> Iterator[Way]:
    fork, entries = graph.dominators[joint], sorted(set(graph.nodes[joint].inputs))
    since = graph.ahead[fork] & ~bits((fork,)) if fork >= 0 else graph.living
    regions = {entry: graph.behind[entry] & since for entry in entries}
    any_way = several = 0
    for region in regions.values():
        several |= any_way & region
        any_way |= region
    found = []
    for entry, region in regions.items():
        own, passed = region & ~several, any_way & ~region
        if passed & scales.layers or (graph.levels[joint] == 0 and own & scales.deciding):
            around = _ratio(passed & scales.layers, scales.layers & ~own)
            found.append((scales.share(own), (own & scales.layers).bit_count(), -around, entry, own))
    if found:
        weights, layers, around, entry, own = min(found, key=lambda one: one[:3])
        others = [entry, *(one for one in entries[:_MOST_ENTRIES] if one != entry)]
        yield Way(
            joint=joint,
            entry=entry,
            sources=tuple(scales.source(one, fork) for one in others[:_MOST_ENTRIES]),
            fork=fork,
            layers=layers,
            weights=weights,
            passed=-around,
            before=_ratio(graph.behind[joint] & scales.layers, scales.layers),
            raw=fork < 0 or graph.levels[fork] == 0,
            decides=bool((own | bits((joint,))) & scales.deciding),
        )


def _ratio(part: Bits, whole: Bits) -> float:
    return part.bit_count() / max(whole.bit_count(), 1)


def _partings(graph: Graph) -> list[int]:
    """Of each node: back through nodes that take from one other, the first that several take from; or -1."""
    found: list[int] = []
    for node in graph.nodes:
        before = node.inputs[0] if len(set(node.inputs)) == 1 else -1
        image = before >= 0 and graph.nodes[before].role is Role.IMAGE
        if before < 0 or image:
            found.append(-1)
        else:
            found.append(before if graph.takers[before] > 1 else found[before])
    return found
