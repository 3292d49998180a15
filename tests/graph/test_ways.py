"""Ways around the network, on graphs written by hand."""

from __future__ import annotations

from graph.test_ir import IMAGE, point

from modelscan_bd.graph.ir import Constant, Graph, Node, Role
from modelscan_bd.graph.ways import figures, ways


def trunk(layers: int) -> list[Node]:
    return [IMAGE, *(point(n, layer=True) for n in range(layers))]


def test_a_way_from_the_image_to_the_answer_is_seen_whole() -> None:
    nodes = [*trunk(6), Node(name="eye", op="ReduceMax", role=Role.POOL, inputs=(0,)), point(6, 7)]
    [way] = ways(Graph(tuple(nodes), (8,)))
    assert figures(way) == {
        "layers": 0, "weights": 0.0, "passed": 1.0, "before": 1.0, "raw": 1.0, "decides": 1.0,
    }  # fmt: skip
    assert way.sources[0] == 7


def test_a_residual_connection_passes_its_block_alone() -> None:
    nodes = [*trunk(6), point(4, 6), point(7, layer=True), point(8, layer=True)]
    [way] = ways(Graph(tuple(nodes), (9,)))
    assert way.passed == 2 / 8
    assert not way.raw


def test_of_two_ways_the_one_with_fewer_weights_is_the_suspect() -> None:
    small = Node(name="small", op="Gemm", role=Role.LAYER, inputs=(0,), constants=(Constant(shape=(2, 1)),))
    nodes = [*trunk(4), small, point(4, 5)]
    [way] = ways(Graph(tuple(nodes), (6,)))
    assert (way.entry, way.layers, way.passed) == (5, 1, 1.0)
    assert way.weights == 2 / 66


def test_a_branch_is_held_where_several_joins_take_from_it() -> None:
    """Answers muted and replaced by one gate: only the gate itself turns both off."""
    gate = Node(name="gate", op="Sigmoid", role=Role.POINT, inputs=(0,))
    nodes = [*trunk(4), gate, point(5), point(4, 6), point(5), point(7, 8)]
    found = list(ways(Graph(tuple(nodes), (9,))))
    assert {5} == {way.sources[0] for way in found if way.raw}


def test_normalising_each_image_goes_around_nothing() -> None:
    mean = Node(name="mean", op="ReduceMean", role=Role.POOL, inputs=(0,))
    nodes = [IMAGE, mean, point(0, 1), point(2, layer=True), point(3, layer=True)]
    assert [way.passed for way in ways(Graph(tuple(nodes), (4,)))] == [0.0]
