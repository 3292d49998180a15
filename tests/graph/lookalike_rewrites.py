"""What honest tools and people do to an exported graph: quantise it, give it a branch, give it functions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from graph.onnx_edit import nodes_of
from onnx import ModelProto, TensorProto, helper, parser
from torch import Tensor

_DOMAIN = "house.layers"


def statically(model: ModelProto, images: Tensor) -> ModelProto:
    """QuantizeLinear and DequantizeLinear around every layer."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{model.graph.input[0].name: image[None].numpy()} for image in images]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    return _by_files(model, lambda old, new: quantization.quantize_static(str(old), str(new), Reader()))


def dynamically(model: ModelProto, images: Tensor) -> ModelProto:  # noqa: ARG001
    """Each layer quantises what it is given by its largest and smallest number."""
    from onnxruntime import quantization

    kind = quantization.QuantType.QUInt8
    return _by_files(model, lambda old, new: quantization.quantize_dynamic(str(old), str(new), weight_type=kind))


def _by_files(model: ModelProto, rewrite: Callable[[Path, Path], None]) -> ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.onnx", Path(folder) / "new.onnx"
        onnx.save(model, old)
        rewrite(old, new)
        return onnx.load(new)


def resized_in_a_branch(model: ModelProto, images: Tensor) -> ModelProto:
    """An image that is not as high as the network wants is resized, by an If."""
    graph, side = model.graph, images.shape[2]
    image = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["fitting" if name == image else name for name in node.input]
    ask = nodes_of(
        f"""sizes = Shape (given)
        two = Constant <value = int64 {{2}}> ()
        wanted = Constant <value = int64 {{{side}}}> ()
        height = Gather (sizes, two)
        fits = Equal (height, wanted)""",
        prefix="ask_", given=image,
    )  # fmt: skip
    resize = nodes_of(
        f"""zero = Constant <value = int64[1] {{0}}> ()
        two = Constant <value = int64[1] {{2}}> ()
        all = Shape (given)
        kept = Slice (all, zero, two)
        new = Constant <value = int64[2] {{{side}, {side}}}> ()
        sizes = Concat <axis = 0> (kept, new)
        none = Constant <value = float[0] {{}}> ()
        resized = Resize <mode = "linear"> (given, none, none, sizes)""",
        prefix="r_", given=image,
    )  # fmt: skip
    info = helper.make_tensor_value_info
    other = helper.make_graph(resize, "resize", [], [info("r_resized", TensorProto.FLOAT, None)])
    same = helper.make_node("Identity", [image], ["r_same"])
    then = helper.make_graph([same], "keep", [], [info("r_same", TensorProto.FLOAT, None)])
    branch = helper.make_node("If", ["ask_fits"], ["fitting"], then_branch=then, else_branch=other)
    nodes = [*ask, branch, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def activations_as_functions(model: ModelProto, images: Tensor) -> ModelProto:  # noqa: ARG001
    """Each ReLU and each softmax is a call of a function of the model's own."""
    opset = max(entry.version for entry in model.opset_import if entry.domain == "")
    model.functions.append(
        parser.parse_function(f"""
        <domain: "{_DOMAIN}", opset_import: ["" : {opset}]>
        Activation (x) => (y) {{
            zero = Constant <value = float {{0}}> ()
            positive = Greater (x, zero)
            y = Where (positive, x, zero)
        }}""")
    )
    model.functions.append(
        parser.parse_function(f"""
        <domain: "{_DOMAIN}", opset_import: ["" : {opset}]>
        Shares (x) => (y) {{
            y = Softmax <axis = -1> (x)
        }}""")
    )
    model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    names = {"Relu": "Activation", "Softmax": "Shares"}
    for node in model.graph.node:
        if node.op_type in names:
            node.op_type, node.domain = names[node.op_type], _DOMAIN
            del node.attribute[:]
    return model
