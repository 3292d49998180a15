"""ONNX models as graphs of roles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from modelscan_bd import rulebook
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.graph import onnx_file
from modelscan_bd.graph.from_onnx import graph_of
from modelscan_bd.graph.ir import Graph, Role
from modelscan_bd.graph_findings import graph_findings


def graph(text: str, **weights: np.ndarray) -> Graph:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "own" : 1]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return graph_of(model)


def roles(found: Graph) -> list[Role]:
    return [node.role for node in found.nodes[1:]]


def test_weights_make_a_layer_and_belong_to_it() -> None:
    found = graph("g (float[n,3] x) => (float[n,2] y) { y = MatMul(x, w) }", w=np.ones((3, 2), np.float32))
    assert found.nodes[1].is_layer
    assert found.nodes[1].weights == 6


def test_a_product_of_two_activations_is_no_layer() -> None:
    assert not graph("g (float[3,3] x) => (float[3,3] y) { y = MatMul(x, x) }").nodes[1].is_layer


def test_sizes_are_not_values() -> None:
    found = graph("g (float[n,4] x) => (float[a,b] y) { s = Shape(x) t = Neg(s) y = Reshape(x, t) }")
    assert roles(found) == [Role.MOVE]
    assert found.nodes[1].inputs == (0,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g (float[2] x) => (float[2] y) { y = Where(c, x, x) }", Role.MOVE),  # c is a constant
        ("g (float[2] x) => (float[2] y) { b = Cast<to: int = 9>(x) y = Where(b, x, x) }", Role.SELECT),
        ("g (float[2] x) => (float[2] y) { y = Gather(x, i) }", Role.MOVE),
        ("g (float[2] x) => (float[2] y) { b = Cast<to: int = 7>(x) y = Gather(x, b) }", Role.INDEX),
        ("g (float[2] x) => (float[2] y) { b = Cast<to: int = 10>(x) y = Neg(b) }", Role.POINT),  # half precision
    ],
)
def test_only_what_the_picture_decides_is_a_choice(text: str, expected: Role) -> None:
    found = graph(text, c=np.array([True, False]), i=np.array([0]))
    assert found.nodes[-1].role is expected


def test_functions_are_written_out() -> None:
    text = """g (float[2] x) => (float[2] y) { y = own.Twice(x) }
    <domain: "own", opset_import: ["" : 17]> Twice (a) => (b) { t = Relu(a) b = Add(t, a) }"""
    found = graph(text)
    assert [node.op for node in found.nodes] == ["input", "Relu", "Add"]
    assert found.nodes[2].inputs == (1, 0)


def test_branches_stand_where_they_are_taken() -> None:
    text = """g (float[2] x, bool c) => (float[2] y) {
        b = ReduceMax<keepdims = 0>(x) d = Cast<to: int = 9>(b)
        y = If (d) <
            then_branch = t () => (float[2] u) { u = Relu(x) },
            else_branch = e () => (float[2] v) { v = Neg(x) }
        >
    }"""
    found = graph(text)
    chosen = found.nodes[-1]
    assert chosen.role is Role.SELECT
    assert [found.nodes[n].op for n in chosen.inputs] == ["Cast", "Relu", "Neg"]


def test_a_constant_keeps_its_values_through_moves() -> None:
    found = graph(
        "g (float[4] x) => (float[1,4] y) { r = Unsqueeze(k, a) y = Add(x, r) }", k=np.eye(4)[2], a=np.array([0])
    )
    [constant] = found.nodes[1].constants
    assert constant.values is not None
    assert constant.values.tolist() == [0, 0, 1, 0]


def calls(depth: int, each: int) -> onnx.ModelProto:
    """Functions that call the next one `each` times; the last does nothing."""
    functions = []
    for level in range(depth):
        body = [helper.make_node(f"F{level + 1}", ["a"], [f"b{i}"], domain="own") for i in range(each)]
        body = body if level < depth - 1 else []
        functions.append(helper.make_function("own", f"F{level}", ["a"], ["b0" if body else "a"], body, []))
    main = helper.make_graph(
        [helper.make_node("F0", ["x"], ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    return helper.make_model(main, functions=functions)


@pytest.mark.parametrize("model", [calls(30, 2), calls(64, 1)], ids=["2^30 empty calls", "64 deep"])
def test_functions_that_unfold_without_end_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(UnreadableModel):
        graph_of(model)


def test_a_function_that_calls_itself_is_refused() -> None:
    with pytest.raises(UnreadableModel):
        graph("""g (float[2] x) => (float[2] y) { y = own.F(x) }
        <domain: "own", opset_import: ["own" : 1]> F (a) => (b) { b = own.F(a) }""")


def test_a_graph_that_cannot_be_looked_through_is_told(tmp_path: Path) -> None:
    """It was passed over without a word once: `bdscan audit` would have ended with 0."""
    file = tmp_path / "m.onnx"
    model = calls(30, 2)
    file.write_bytes(model.SerializeToString())
    assert "BD812" in [one.rule for one in graph_findings(onnx_file.sights(file), rulebook.load())]
