"""ONNX tensors and element types as torch's, with every claim in the file checked before it is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from modelscan_bd.errors import UnreadableModel, UnsupportedModel

DTYPES: Final[Mapping[int, torch.dtype]] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
}


def dtype_of(element_type: int) -> torch.dtype:
    """Raises UnsupportedModel where torch has no such element type."""
    if element_type not in DTYPES:
        known = element_type in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(element_type) if known else str(element_type)
        raise UnsupportedModel(f"the model holds tensors of element type {name}, which torch cannot compute with")
    return DTYPES[element_type]


def elements(dims: list[int] | tuple[int, ...]) -> int:
    """The number of elements that a shape claims. Raises UnreadableModel on negative sizes."""
    if any(d < 0 for d in dims):
        raise UnreadableModel(f"a tensor claims the impossible shape {list(dims)}")
    return math.prod(dims)


def to_tensor(proto: onnx.TensorProto) -> Tensor:
    """A constant of the file as a torch tensor of its own memory.

    Raises UnreadableModel where the bytes do not fit the claimed shape or lie in another file.
    """
    if proto.data_location == TensorProto.EXTERNAL:
        raise UnreadableModel(f"the weights '{proto.name}' lie in an external file that was not loaded")
    dtype = dtype_of(proto.data_type)
    claimed = elements(list(proto.dims))
    if raw := proto.raw_data:  # read once: every access copies
        if len(raw) != claimed * dtype.itemsize:
            raise UnreadableModel(f"the tensor '{proto.name}' claims {claimed} elements but brings other bytes")
        return _from_bytes(raw, dtype).reshape(tuple(proto.dims))
    if claimed > 8 * _listed(proto):
        raise UnreadableModel(f"the tensor '{proto.name}' claims {claimed} elements but brings none")
    try:
        return _from_array(numpy_helper.to_array(proto), dtype)
    except (ValueError, TypeError) as broken:
        raise UnreadableModel(f"the tensor '{proto.name}' cannot be read ({broken})") from broken


def _from_bytes(raw: bytes, dtype: torch.dtype) -> Tensor:
    """ONNX stores little-endian; so does every machine that torch runs on."""
    return torch.from_numpy(np.frombuffer(raw, dtype=np.uint8).copy()).view(dtype)


def _listed(proto: onnx.TensorProto) -> int:
    fields = (proto.float_data, proto.int32_data, proto.int64_data, proto.double_data, proto.uint64_data)
    return sum(len(field) for field in fields)


def _from_array(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    if dtype is torch.bfloat16:
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C", copy=not array.flags.writeable)).to(dtype)


def label(node: onnx.NodeProto) -> str:
    """What to call a node: by its name, or else by what it produces."""
    return node.name or next(iter(node.output), "")


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """A node's attributes as plain Python values and tensors; texts are checked to be mere words."""
    return {a.name: _attribute(node, a) for a in node.attribute if not a.ref_attr_name}


def _attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> object:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return to_tensor(value)
    if isinstance(value, bytes):
        return _word(node, value)
    if isinstance(value, (int, float, onnx.GraphProto)):
        return value
    if isinstance(value, (list, tuple)) or hasattr(value, "__iter__"):
        return tuple(_word(node, v) if isinstance(v, bytes) else v for v in value)
    raise UnsupportedModel(f"{node.op_type} node '{node.name}' has an attribute '{attribute.name}' of an unknown kind")


def _word(node: onnx.NodeProto, text: bytes) -> str:
    word = text.decode("utf-8", "replace")
    if len(word) > 256 or not all(c.isascii() and (c.isalnum() or c in " _-.,>") for c in word):
        raise UnreadableModel(f"{node.op_type} node '{node.name}' has a text attribute that is not a plain word")
    return word
