"""What a file says of the images it expects: their layout and size, and preprocessing that the graph does itself."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import onnx
import torch
from onnx import TensorProto
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.tensors import attributes, dtype_of
from modelscan_bd.types import Hints, Layout

CHANNELS: Final = (1, 3, 4)
_METADATA_CEILING = 65_536  # characters
_RAW = (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64)


@dataclass(frozen=True, kw_only=True)
class Input:
    """The picture's place in the graph. `batch`: the size that the file fixes, None where it is open."""

    name: str
    shape: tuple[int | None, int | None, int | None]  # channels, height, width; None: any
    layout: Layout
    batch: int | None
    raw: bool  # whole bytes rather than numbers about zero

    def example(self) -> tuple[int, ...]:
        """A size to try it with, as the file lays it out, without the batch."""
        c, h, w = (size or default for size, default in zip(self.shape, (3, 224, 224), strict=True))
        return (c, h, w) if self.layout is Layout.NCHW else (h, w, c)


def input_of(model: onnx.ModelProto) -> Input:
    """The model's picture. Raises UnsupportedModel where it has none, or needs more than a picture."""
    weights = {w.name for w in model.graph.initializer}
    free = [i for i in model.graph.input if i.name not in weights]
    if len(free) != 1:
        names = ", ".join(i.name for i in free[:5])
        raise UnsupportedModel(f"the model has {len(free)} inputs ({names}); an image classifier has one")
    kind = free[0].type.tensor_type
    dims = [d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim]
    if len(dims) != 4:
        raise UnsupportedModel(f"the model's input '{free[0].name}' has {len(dims)} axes; a batch of images has four")
    dtype_of(kind.elem_type)
    layout = _layout(dims, free[0].name, model.graph)
    c, h, w = (dims[1], dims[2], dims[3]) if layout is Layout.NCHW else (dims[3], dims[1], dims[2])
    raw = kind.elem_type in _RAW
    return Input(name=free[0].name, shape=(c, h, w), layout=layout, batch=dims[0], raw=raw)


def _layout(dims: list[int | None], name: str, graph: onnx.GraphProto) -> Layout:
    """By the axis that has as many entries as pictures have channels; in doubt by the first transposition."""
    first, last = dims[1] in CHANNELS, dims[3] in CHANNELS
    if first != last:
        return Layout.NCHW if first else Layout.NHWC
    for node in _chain(name, graph):
        if node.op_type == "Transpose" and attributes(node).get("perm") == (0, 3, 1, 2):
            return Layout.NHWC
    return Layout.NCHW


_PREPARING: Final = ("Cast", "Transpose", "Identity", "Sub", "Add", "Mul", "Div", "DequantizeLinear", "QuantizeLinear")


def _chain(name: str, graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that a picture passes one after the other before anything branches or mixes pixels."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for used in node.input:
            readers.setdefault(used, []).append(node)
    for _ in range(16):
        following = readers.get(name, [])
        if len(following) != 1 or following[0].op_type not in _PREPARING or following[0].input[0] != name:
            return
        yield following[0]
        name = following[0].output[0]


def input_hints(
    model: onnx.ModelProto, entrance: Input, graph: onnx.GraphProto, weights: Mapping[str, Tensor]
) -> Hints:
    """Preprocessing found in the graph (the file then wants plain pixels or bytes), sizes, and the file's metadata."""
    scale = 255.0 if entrance.raw else _white(entrance, graph, weights)
    said = _metadata(model)
    size = (entrance.shape[1], entrance.shape[2])
    plain = None if scale is None else len(said.get("mean") or ()) or (entrance.shape[0] or 3)
    return Hints(
        mean=said.get("mean") if plain is None else (0.0,) * plain,
        std=said.get("std") if plain is None else (1.0 / scale if scale else 1.0,) * plain,
        scale=scale,
        size=(size[0], size[1]) if size[0] and size[1] else None,
        channels=entrance.shape[0],
        layout=entrance.layout,
        class_names=_class_names(model),
    )


def _white(entrance: Input, graph: onnx.GraphProto, weights: Mapping[str, Tensor]) -> float | None:
    """What a white pixel is for a graph that normalises by itself, 1 or 255; None where it does not."""
    factor, shift = torch.ones(1), torch.zeros(1)
    for node in _chain(entrance.name, graph):
        if node.op_type not in ("Sub", "Add", "Mul", "Div"):
            continue
        number = weights.get(node.input[1])
        if number is None or number.numel() not in (1, 3):
            break
        value = number.flatten().float()
        if node.op_type in ("Sub", "Add"):
            shift = shift + (value if node.op_type == "Add" else -value)
        else:
            by = value if node.op_type == "Mul" else 1 / value
            factor, shift = factor * by, shift * by
    if torch.all(factor == 1) and torch.all(shift == 0):
        return None
    spread = float(factor.abs().mean())  # of one unit of input; a normalised picture spans one to eight
    return 1.0 if spread > 0.3 else 255.0


def _metadata(model: onnx.ModelProto) -> dict[str, tuple[float, ...]]:
    """`mean` and `std` of pixels in [0, 1] where the file states them as plain lists of numbers."""
    found = {}
    for entry in model.metadata_props:
        key = _key(entry)
        value = _literal(entry.value) if key in ("mean", "std") else None
        if isinstance(value, (list, tuple)) and 0 < len(value) <= 4 and all(isinstance(v, (int, float)) for v in value):
            found[key] = tuple(float(v) for v in value)
    return found if set(found) == {"mean", "std"} else {}


def _class_names(model: onnx.ModelProto) -> tuple[str, ...] | None:
    for entry in model.metadata_props:
        if _key(entry) in ("names", "classes", "class_names", "labels", "label_names"):
            value = _literal(entry.value)
            value = list(value.values()) if isinstance(value, dict) else value
            if isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
                return tuple(value)
    return None


def _key(entry: onnx.StringStringEntryProto) -> str:
    """The name of a metadata entry; bdscan's own exports prefix theirs."""
    return entry.key.lower().removeprefix("bdscan.")


def _literal(text: str) -> object:
    """Plain data written as JSON or as a Python literal; None where it is neither, or very long."""
    if len(text) > _METADATA_CEILING:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
