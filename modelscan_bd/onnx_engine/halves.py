"""Half precision is a way to store weights; gradients want single precision, which holds every half exactly."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from modelscan_bd.onnx_engine.limits import Limits, graphs
from modelscan_bd.onnx_engine.tensors import to_tensor

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def widened(
    graph: onnx.GraphProto, weights: Mapping[str, Tensor], limits: Limits, *, keep_ends: bool
) -> dict[str, Tensor]:
    """Rewrites `graph` in place to compute in single precision and returns the weights to match.

    With `keep_ends` the graph still takes and returns what it declares, by casts at both ends.
    """
    if keep_ends:
        _cast_ends(graph)
    for part in graphs(graph, limits):
        for node in part.node:
            for attribute in node.attribute:
                _widen_attribute(node, attribute)
        for info in (*part.input, *part.output):
            if not (keep_ends and part is graph) and info.type.tensor_type.elem_type in HALVES:
                info.type.tensor_type.elem_type = TensorProto.FLOAT
    return {n: w.float() if w.dtype in (torch.float16, torch.bfloat16) else w for n, w in weights.items()}


def has_halves(graph: onnx.GraphProto, weights: Mapping[str, Tensor]) -> bool:
    stored = any(w.dtype in (torch.float16, torch.bfloat16) for w in weights.values())
    return stored or any(i.type.tensor_type.elem_type in HALVES for i in (*graph.input, *graph.output))


def _widen_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    if attribute.name == "to" and node.op_type == "Cast" and attribute.i in HALVES and node.domain != "bdscan":
        attribute.i = TensorProto.FLOAT
    if attribute.HasField("t") and attribute.t.data_type in HALVES:
        attribute.t.CopyFrom(numpy_helper.from_array(to_tensor(attribute.t).float().numpy(), attribute.t.name))


def _cast_ends(graph: onnx.GraphProto) -> None:
    """Casts behind every half input and before every half output; the engine's own domain marks them as to stay."""
    inputs = {i.name: f"{i.name}_wide" for i in graph.input if i.type.tensor_type.elem_type in HALVES}
    outputs = {o.name: f"{o.name}_wide" for o in graph.output if o.type.tensor_type.elem_type in HALVES}
    before = [helper.make_node("Cast", [n], [w], to=TensorProto.FLOAT, domain="bdscan") for n, w in inputs.items()]
    kinds = {o.name: o.type.tensor_type.elem_type for o in graph.output}
    after = [helper.make_node("Cast", [w], [n], to=kinds[n], domain="bdscan") for n, w in outputs.items()]
    for node in graph.node:
        for names, rename in ((node.input, {**outputs, **inputs}), (node.output, outputs)):
            fresh = [rename.get(n, n) for n in names]
            del names[:]
            names.extend(fresh)
    middle = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    for name in set(inputs) & set(outputs):
        middle.append(helper.make_node("Identity", [inputs[name]], [outputs[name]]))
    del graph.node[:]
    graph.node.extend([*before, *middle, *after])
