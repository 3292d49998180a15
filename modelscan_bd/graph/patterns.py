"""All that can be told of a graph without running it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from modelscan_bd.graph import choices, loud, ways
from modelscan_bd.graph.ir import Graph
from modelscan_bd.graph.sight import Sight


def patterns(graph: Graph) -> Iterator[Sight]:
    return chain(ways.sights(graph), choices.sights(graph), loud.sights(graph))
