"""The file's graph without its bulk: a small model to rewrite, and the weights beside it, by name."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import helper

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.onnx_engine.tensors import elements

_SMALL = 256  # elements: shapes, axes and the like, which rewriting must be able to read


@dataclass(frozen=True, kw_only=True)
class Source:
    """`model` has no initialisers but small ones; `weights` are the file's own messages, not copied."""

    model: onnx.ModelProto
    weights: dict[str, onnx.TensorProto]


def detached(model: onnx.ModelProto) -> Source:
    """A copy of `model` whose large initialisers are left aside. Inputs that are initialisers (IR 3) are dropped."""
    graph = model.graph
    if graph.sparse_initializer:
        raise UnreadableModel("the model stores sparse weights, which bdscan does not read")
    skeleton = onnx.ModelProto(ir_version=max(model.ir_version, 8))
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    weights = {w.name: w for w in graph.initializer}
    if len(weights) != len(graph.initializer):
        raise UnreadableModel("two weights of the model have the same name")
    inner = skeleton.graph
    inner.name = graph.name or "graph"
    inner.node.extend(graph.node)
    inner.output.extend(graph.output)
    inner.value_info.extend(graph.value_info)
    inner.input.extend(i for i in graph.input if i.name not in weights)
    inner.initializer.extend(w for w in weights.values() if elements(list(w.dims)) <= _SMALL)
    kept = {w.name for w in inner.initializer}
    return Source(model=skeleton, weights={n: w for n, w in weights.items() if n not in kept})


def declared(source: Source) -> onnx.ModelProto:
    """The skeleton with its absent weights declared as inputs, so that ONNX's own tools accept it."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    model.graph.input.extend(helper.make_tensor_value_info(n, w.data_type, w.dims) for n, w in source.weights.items())
    return model
