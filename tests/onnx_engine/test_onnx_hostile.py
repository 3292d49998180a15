"""Graphs made to harm: each ends in one clear error, soon, and never reaches onnxruntime if it asks for too much."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from modelscan_bd.errors import BdscanError, UnreadableModel, UnsupportedModel
from modelscan_bd.onnx_engine import convert, to_torch
from modelscan_bd.onnx_engine.limits import TooMuch

Build = Callable[..., onnx.ModelProto]
node = helper.make_node


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < 20


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def refused(model: onnx.ModelProto, kind: type[BdscanError], says: str) -> None:
    for entry in (to_torch, convert):
        with pytest.raises(kind, match=says):
            entry(model)


def test_nodes_that_wait_for_each_other(build: Build) -> None:
    circle = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Flatten", ["b"], ["y"])]
    refused(build(circle), UnreadableModel, "circle")


def test_two_nodes_with_one_result(build: Build) -> None:
    refused(build([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), UnreadableModel, "twice")


def test_a_node_that_overwrites_a_weight(build: Build) -> None:
    model = build([node("Relu", ["x"], ["w"]), node("Flatten", ["w"], ["y"])], {"w": np.ones((1, 3, 8, 8), "f4")})
    refused(model, UnreadableModel, "twice")


def test_a_tensor_from_nowhere(build: Build) -> None:
    refused(build([node("Add", ["x", "ghost"], ["y"])]), UnreadableModel, "ghost")


@pytest.mark.parametrize(
    "bomb",
    [
        node("ConstantOfShape", ["huge"], ["c"]),
        node("Expand", ["one", "huge"], ["c"]),
        node("Tile", ["one", "huge"], ["c"]),
        node("Pad", ["one", "pads"], ["c"]),
        node("Range", ["zero", "many", "step"], ["c"]),
        node("OneHot", ["one", "many", "pair"], ["c"]),
    ],
    ids=lambda n: n.op_type,
)
def test_a_constant_of_absurd_size(bomb: onnx.NodeProto, build: Build) -> None:
    weights = {
        "huge": ints(2**20, 2**20),
        "one": np.ones((1, 1), dtype=np.int64),
        "pads": ints(0, 0, 2**20, 2**20),
        "zero": np.int64(0),
        "many": np.int64(2**40),
        "step": np.int64(1),
        "pair": ints(0, 1),
    }
    model = build([bomb, node("Shape", ["c"], ["s"]), node("Reshape", ["x", "s"], ["y"])], weights)
    refused(model, TooMuch, "asks for|cannot be computed")


def test_constants_that_are_large_together(build: Build) -> None:
    nodes = [node("Expand", ["one", "large"], [f"c{i}"]) for i in range(40)]
    sums = [node("Sum", [f"c{i}" for i in range(40)], ["s"]), node("Flatten", ["x"], ["y"])]
    refused(build([*nodes, *sums], {"one": np.ones(1, "f4"), "large": ints(2**23)}), TooMuch, "to work out")


@pytest.mark.parametrize("shape", [[2**40], [2**31, 2**31], [-4]])
def test_weights_that_claim_what_they_do_not_bring(shape: list[int], build: Build) -> None:
    model = build([node("Add", ["x", "w"], ["y"])])
    model.graph.initializer.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=shape))
    refused(model, BdscanError, "claim")


def test_weights_shorter_than_their_shape(build: Build) -> None:
    model = build([node("Add", ["x", "w"], ["y"])])
    lie = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000], raw_data=bytes(8))
    model.graph.initializer.append(lie)
    refused(model, UnreadableModel, "claims 1000 elements")


def test_weights_in_another_file(build: Build) -> None:
    model = build([node("Add", ["x", "w"], ["y"])])
    away = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    away.external_data.add(key="location", value="../../etc/passwd")
    model.graph.initializer.append(away)
    refused(model, UnreadableModel, "external")


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, 999])
def test_element_types_that_are_none(kind: int, build: Build) -> None:
    refused(build([node("Flatten", ["x"], ["y"])], kind=kind), UnsupportedModel, "element type")


def function(name: str, calls: list[str]) -> onnx.FunctionProto:
    steps = ["a", *(f"t{i}" for i in range(len(calls) - 1)), "b"]
    nodes = [
        node(op, [before], [after], domain="" if op == "Relu" else "bomb")
        for op, before, after in zip(calls, steps, steps[1:], strict=False)
    ]
    return helper.make_function("bomb", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 21)])


def test_functions_that_multiply(build: Build) -> None:
    """Ten calls of ten calls of ten calls: counted, never expanded."""
    levels = [function("F0", ["Relu"] * 10), *(function(f"F{i}", [f"F{i - 1}"] * 10) for i in range(1, 12))]
    model = build([node("F11", ["x"], ["y"], domain="bomb")], functions=levels, domains=("bomb",))
    refused(model, TooMuch, "expanded")


def test_a_function_that_calls_itself(build: Build) -> None:
    model = build([node("F", ["x"], ["y"], domain="bomb")], functions=[function("F", ["F"])], domains=("bomb",))
    refused(model, UnreadableModel, "calls itself")


def branch(inside: onnx.NodeProto | None) -> onnx.GraphProto:
    result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
    return helper.make_graph([inside or node("Relu", ["x"], ["r"])], "b", [], [result])


def test_graphs_within_graphs(build: Build) -> None:
    inner = None
    for _ in range(25):
        inner = node("If", ["yes"], ["r"], then_branch=branch(inner), else_branch=branch(None))
    last = node("Flatten", ["r"], ["y"])
    assert inner is not None
    refused(build([inner, last], {"yes": np.array(True)}), TooMuch, "deep")


def endless(trips: int) -> onnx.NodeProto:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["still"]), node("Relu", ["v"], ["w"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("v", TensorProto.FLOAT, None)],
        [info("still", TensorProto.BOOL, []), info("w", TensorProto.FLOAT, None)],
    )
    return node("Loop", ["trips" if trips else "", "yes", "x"], ["l"], body=body)


@pytest.mark.parametrize("trips", [0, 2**40])
def test_a_loop_without_end(trips: int, build: Build) -> None:
    weights = {"yes": np.array(True), "trips": np.int64(trips)}
    refused(build([endless(trips), node("Flatten", ["l"], ["y"])], weights), TooMuch, "trips")


def test_more_nodes_than_any_classifier_has(build: Build) -> None:
    names = ["x", *(f"t{i}" for i in range(30_000)), "y"]
    refused(build([node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]), TooMuch, "nodes")


def test_names_are_never_code(build: Build) -> None:
    """Names of the file reach generated code as harmless identifiers only."""
    names = ["__import__('os').system('false')", "class", "forward", "training", "0", "a\nb = 1", "x'\"\\", ""]
    nodes, last = [], "x"
    for i, name in enumerate(names):
        nodes.append(node("Conv", [last, "w"], [f"{name}|{i}"], name=name))
        last = f"{name}|{i}"
    nodes.append(node("Flatten", [last], ["y"], name="import"))
    module = to_torch(build(nodes, {"w": np.eye(3, dtype="f4").reshape(3, 3, 1, 1)}))
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(module(x), x.flatten(1))


def test_text_attributes_are_mere_words(build: Build) -> None:
    evil = node("Einsum", ["x"], ["y"], equation="');import os;('")
    refused(build([evil]), UnreadableModel, "plain word")


def test_all_unknown_operators_are_listed_at_once(build: Build) -> None:
    nodes = [
        node("Frobnicate", ["x"], ["a"], name="first", domain="acme"),
        node("NonMaxSuppression", ["a", "a"], ["b"], name="second"),
        node("Flatten", ["b"], ["y"]),
    ]
    with pytest.raises(UnsupportedModel, match=r"NonMaxSuppression \(second\); acme.Frobnicate \(first\)"):
        to_torch(build(nodes, domains=("acme",)))


def test_nodes_without_what_they_need(build: Build) -> None:
    """Operators short of inputs, outputs or attributes: an error of ours, whichever it is."""
    for op in ("Conv", "MatMul", "Reshape", "Concat", "QuantizeLinear", "If", "Loop", "Split", "Softmax", "Constant"):
        for outputs in (["y"], []):
            with pytest.raises(BdscanError):
                to_torch(build([node(op, [], outputs)]))


def test_random_damage_is_an_error_of_ours(build: Build) -> None:
    """Bytes of a good file are overwritten at random; what still parses either runs or is refused in a sentence."""
    weights = {"w": np.ones((4, 3, 3, 3), "f4"), "m": np.ones((4, 5), "f4"), "s": ints(0, 4)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["a"], ["p"]),
        node("Reshape", ["p", "s"], ["q"]),
        node("MatMul", ["q", "m"], ["y"]),
    ]
    good, rng, parsed = build(nodes, weights).SerializeToString(), np.random.default_rng(0), 0
    for _ in range(300):
        bad = bytearray(good)
        for position in rng.integers(0, len(good), 3):
            bad[position] = rng.integers(0, 256)
        try:
            model = onnx.ModelProto.FromString(bytes(bad))
        except Exception:  # noqa: BLE001  # protobuf's own errors: the file does not even parse
            continue
        if max((o.version for o in model.opset_import), default=0) < 21:
            continue  # ONNX's own converter, which runs in a process of its own for untrusted files
        parsed += 1
        with contextlib.suppress(BdscanError):
            to_torch(model)
    assert parsed > 50
