"""Graphs of roles: what depends on what, and through which node all ways lead."""

from __future__ import annotations

import networkx
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd.graph.ir import Constant, Graph, Node, Role
from modelscan_bd.graph.sets import bits, members


def point(*inputs: int, layer: bool = False) -> Node:
    weights = (Constant(shape=(4, 4)),) if layer else ()
    return Node(name="n", op="op", role=Role.LAYER if layer else Role.POINT, inputs=inputs, constants=weights)


IMAGE = Node(name="x", op="input", role=Role.IMAGE)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes = [IMAGE]
    for number in range(1, draw(st.integers(2, 14))):
        taken = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=3))
        nodes.append(point(*taken, layer=draw(st.booleans())))
    return Graph(tuple(nodes), (len(nodes) - 1,))


@given(graphs())
def test_dominators_are_those_of_networkx(graph: Graph) -> None:
    net = networkx.DiGraph([(i, n) for n, node in enumerate(graph.nodes) for i in node.inputs])
    expected = networkx.immediate_dominators(net, 0)
    assert all(graph.dominators[n] == expected[n] for n in net.nodes if n)


@given(graphs())
def test_ahead_and_behind_mirror_each_other(graph: Graph) -> None:
    for n in range(len(graph.nodes)):
        assert all(graph.ahead[behind] >> n & 1 for behind in members(graph.behind[n]))
        assert all(graph.behind[ahead] >> n & 1 for ahead in members(graph.ahead[n]))


@given(st.sets(st.integers(0, 500)))
def test_bits_are_sets(numbers: set[int]) -> None:
    assert list(members(bits(numbers))) == sorted(numbers)


def test_levels_count_layers_on_the_longest_way() -> None:
    graph = Graph((IMAGE, point(0, layer=True), point(1, layer=True), point(0, 2), point(3, layer=True)), (4,))
    assert graph.levels == (0, 1, 2, 2, 3)


def test_what_leads_nowhere_does_not_live() -> None:
    graph = Graph((IMAGE, point(0), point(0), point(1)), (3,))
    assert list(members(graph.living)) == [0, 1, 3]
