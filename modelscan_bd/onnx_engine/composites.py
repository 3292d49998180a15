"""ONNX's composite operators without a kernel of ours, by the body that ONNX itself publishes for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import defs, helper
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.inline import body
from modelscan_bd.onnx_engine.tensors import DTYPES

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


def has_body(op: str, opset: int) -> bool:
    schema = _schema(op, opset)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def body_of(node: onnx.NodeProto, inputs: Sequence[Tensor | None], opset: int, prefix: str) -> list[onnx.NodeProto]:
    """The nodes that `node` stands for. Types and shapes of its `inputs` decide between variants of the body.

    Raises UnsupportedModel where ONNX has no body for these.
    """
    schema = _schema(node.op_type, opset)
    assert schema is not None
    if schema.has_function:
        return body(node, onnx.FunctionProto.FromString(schema.function_body.SerializeToString()), prefix)
    types = [_type(x).SerializeToString() for x in inputs]
    version = max(v for v in schema.context_dependent_function_opset_versions if v <= max(opset, schema.since_version))
    text = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), types)
    function = onnx.FunctionProto.FromString(text)
    if not function.node:
        raise UnsupportedModel(f"{node.op_type} node '{node.name}' is used in a way that bdscan cannot differentiate")
    return body(node, function, prefix)


def _type(x: Tensor | None) -> onnx.TypeProto:
    if x is None:
        return helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    return helper.make_tensor_type_proto(_NUMBERS[x.dtype], list(x.shape))


def _schema(op: str, opset: int) -> Any:  # onnx's stubs know half of what a schema has
    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None
