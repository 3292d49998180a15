"""Every operator of the table against the tests that ONNX itself ships for it; gradients against finite differences."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from modelscan_bd.errors import BdscanError
from modelscan_bd.onnx_engine import to_torch
from modelscan_bd.onnx_engine.ops import OPERATORS
from modelscan_bd.onnx_engine.tensors import DTYPES

WIDE = (torch.uint16, torch.uint32, torch.uint64)  # torch holds them and computes with few
Build = Callable[..., onnx.ModelProto]

DAILY = {
    "layers": ["BatchNormalization", "Conv", "Gemm", "InstanceNormalization", "LRN", "LayerNormalization", "MatMul"],
    "pools": ["AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"],
    "activations": ["Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Softmax"],
    "shapes": ["Concat", "Expand", "Flatten", "Pad", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose"],
    "indices": ["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "TopK", "Where"],
    "reductions": ["ArgMax", "CumSum", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum"],
    "pictures": ["DepthToSpace", "GridSample", "Resize"],
    "arithmetic": ["Add", "Cast", "ConstantOfShape", "Div", "Equal", "Erf", "Mod", "Mul", "Pow", "Range", "Sqrt"],
}
BEYOND = {  # tests of what the engine leaves to onnxruntime, and why
    "Dropout": "training masks are random",
    "QuantizeLinear": "8-bit floats and 4-bit integers, which torch has not",
    "DequantizeLinear": "8-bit floats and 4-bit integers, which torch has not",
    "DynamicQuantizeLinear": "codes that leave the graph are not numbers",
    "MatMulInteger": "codes that enter the graph have no scale",
}


@functools.cache
def published() -> dict[str, list[Any]]:
    """ONNX's tests of single nodes, by operator, as far as torch has their element types."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases("")
    found: dict[str, list[Any]] = {}
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].domain == "" and _is_plain(case.model.graph):
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def _is_plain(graph: onnx.GraphProto) -> bool:
    kinds = [info.type.tensor_type.elem_type for info in (*graph.input, *graph.output)]
    kinds += [a.i for node in graph.node for a in node.attribute if a.name == "to"]
    return all(kind in DTYPES and DTYPES[kind] not in WIDE for kind in kinds)


def tensor(value: Any) -> Tensor:
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def with_constants(case: Any) -> tuple[onnx.ModelProto, list[Tensor]]:
    """The same test with all inputs but the first float one written into the file, as exporters do."""
    inputs = [tensor(v) for v in case.data_sets[0][0]]
    data = next((i for i, t in enumerate(inputs) if t.is_floating_point()), 0)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for i, value in enumerate(case.data_sets[0][0]):
        if i != data:
            held = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value))
            model.graph.initializer.append(held)
            model.graph.initializer[-1].name = case.model.graph.input[i].name
    kept = model.graph.input[data]
    del model.graph.input[:]
    model.graph.input.append(kept)
    return model, [inputs[data]]


def wrong(case: Any, model: onnx.ModelProto, inputs: Sequence[Tensor]) -> str | None:
    """What is wrong with our outputs; an operator that is refused is wrong as well."""
    try:
        results = to_torch(model)(*inputs)
    except BdscanError as why:
        return str(why)
    results = results if isinstance(results, tuple) else (results,)
    for ours, theirs in zip(results, case.data_sets[0][1], strict=True):
        expected = tensor(theirs)
        if ours.dtype is not expected.dtype or ours.shape != expected.shape:
            return f"{ours.dtype} {tuple(ours.shape)}, not {expected.dtype} {tuple(expected.shape)}"
        coarse = expected.dtype in (torch.float16, torch.bfloat16)
        rtol, atol = (5e-2, 2e-2) if coarse else (case.rtol, 1e-5)
        if not torch.allclose(ours.double(), expected.double(), rtol=rtol, atol=atol, equal_nan=True):
            return "other values"
    return None


def faults(op: str) -> list[str]:
    found = []
    for case in published().get(op, []):
        if "training" in case.name or not case.data_sets:
            continue
        inputs = [tensor(v) for v in case.data_sets[0][0]]
        tries = [("as it is", case.model, inputs)]
        if len(inputs) > 1:
            tries.append(("with constants", *with_constants(case)))
        found += [f"{case.name} {how}: {fault}" for how, m, i in tries if (fault := wrong(case, m, i)) is not None]
    return found


@pytest.mark.parametrize("family", DAILY)
def test_operators_do_what_onnx_says(family: str) -> None:
    assert all(published().get(op) for op in DAILY[family])
    assert [fault for op in DAILY[family] for fault in faults(op)] == []


@pytest.mark.slow
@pytest.mark.parametrize("op", sorted(set(OPERATORS) - set(BEYOND)))
def test_every_operator_does_what_onnx_says(op: str) -> None:
    if not published().get(op):
        pytest.skip("ONNX ships no test for it")
    assert faults(op) == []


NODES = {
    "conv, uneven pads": ("Conv", {"w": (4, 3, 3, 3)}, {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    "conv, same upper": ("Conv", {"w": (4, 3, 2, 2)}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "conv transpose": ("ConvTranspose", {"w": (3, 4, 3, 3)}, {"strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "average, pads not counted": ("AveragePool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average, ceil": ("AveragePool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "maximum, uneven": ("MaxPool", {}, {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "strides": [2, 2]}),
    "lp pool": ("LpPool", {}, {"kernel_shape": [2, 2], "p": 3}),
    "batch norm": ("BatchNormalization", {"s": (3,), "b": (3,), "m": (3,), "v": (3,)}, {}),
    "instance norm": ("InstanceNormalization", {"s": (3,), "b": (3,)}, {}),
    "layer norm": ("LayerNormalization", {"s": (8,), "b": (8,)}, {}),
    "group norm": ("GroupNormalization", {"s": (3,), "b": (3,)}, {"num_groups": 3}),
    "local response": ("LRN", {}, {"size": 3, "alpha": 0.1}),
    "softplus": ("Softplus", {}, {}),
    "prelu": ("PRelu", {"a": (3, 1, 1)}, {}),
    "hard swish": ("HardSwish", {}, {}),
    "log softmax": ("LogSoftmax", {}, {"axis": 1}),
    "matrix": ("MatMul", {"w": (8, 5)}, {}),
    "einsum": ("Einsum", {"w": (8, 5)}, {"equation": "nchw,wk->nchk"}),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("what", NODES)
def test_gradients_are_those_that_finite_differences_measure(what: str, batch: int, build: Build) -> None:
    op, shapes, options = NODES[what]
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(0.3, 1.5, shape).astype("f8") for name, shape in shapes.items()}
    model = build([helper.make_node(op, ["x", *shapes], ["y"], **options)], weights, kind=onnx.TensorProto.DOUBLE)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    x = torch.randn(batch, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    module = to_torch(model)
    assert torch.autograd.gradcheck(module, (x,), fast_mode=True)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("position", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"])
@pytest.mark.parametrize("scale", [2.0, 0.5, 1.6])
def test_resize_is_onnxruntimes(
    mode: str, position: str, scale: float, build: Build, judged: Callable[[onnx.ModelProto, Tensor], Tensor]
) -> None:
    options = {"mode": mode, "coordinate_transformation_mode": position, "nearest_mode": "floor"}
    scales = np.array([1, 1, scale, scale], "f4")
    model = build([helper.make_node("Resize", ["x", "", "s"], ["y"], **options)], {"s": scales}, shape=(2, 3, 10, 10))
    x = torch.randn(2, 3, 10, 10)
    assert torch.allclose(to_torch(model)(x), judged(model, x), atol=1e-5)


def test_loops_and_branches_that_do_not_depend_on_the_picture(build: Build) -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"]),
            helper.make_node("Add", ["v", "x"], ["w"]),
            helper.make_node("ReduceSum", ["w"], ["trace"], keepdims=0),
        ],
        "body",
        [info("i", 7, []), info("go", 9, []), info("v", 1, None)],
        [info("still", 9, []), info("w", 1, None), info("trace", 1, None)],
    )
    twice = helper.make_graph([helper.make_node("Add", ["l", "l"], ["r"])], "t", [], [info("r", 1, None)])
    once = helper.make_graph([helper.make_node("Identity", ["l"], ["r"])], "e", [], [info("r", 1, None)])
    nodes = [
        helper.make_node("Loop", ["three", "yes", "x"], ["l", "traces"], body=body),
        helper.make_node("If", ["no"], ["y"], then_branch=twice, else_branch=once),
    ]
    weights = {"three": np.int64(3), "yes": np.array(True), "no": np.array(False)}
    module = to_torch(build(nodes, weights, outputs=("y", "traces")))
    x = torch.randn(2, 3, 8, 8)
    y, traces = module(x)
    assert torch.allclose(y, 4 * x)
    assert torch.allclose(traces, torch.stack([x.sum() * k for k in (2, 3, 4)]), rtol=1e-4, atol=1e-4)


def test_local_functions_are_expanded(build: Build) -> None:
    inner = helper.make_function(
        "own",
        "Scaled",
        ["a"],
        ["b"],
        [helper.make_node("Elu", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])],
        [helper.make_opsetid("", 21)],
        ["alpha"],
    )
    inner.node[0].attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    nodes = [
        helper.make_node("Scaled", ["x"], ["m"], domain="own", alpha=2.0),
        helper.make_node("Scaled", ["m"], ["y"], domain="own", alpha=0.5),
    ]
    x = torch.randn(2, 3, 8, 8)
    expected = -torch.nn.functional.elu(-torch.nn.functional.elu(x, 2.0), 0.5)
    assert torch.allclose(to_torch(build(nodes, functions=[inner], domains=("own",)))(x), expected)
