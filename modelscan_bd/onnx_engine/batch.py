"""The batch dimension: read from the file where it is symbolic, put back where an export has fixed it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from modelscan_bd.onnx_engine.ops.kinds import Number
from modelscan_bd.onnx_engine.tensors import dtype_of
from modelscan_bd.onnx_engine.values import Call, Value


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`sizes` are the witnesses: the batch sizes at which shapes are worked out.

    `input` is the picture's name, None where the graph has no single input to vary. `relax`: the file fixed the batch
    and the engine frees it.
    """

    input: str | None = None
    sizes: tuple[int, ...] = (1,)
    relax: bool = False

    @property
    def witnesses(self) -> int:
        return len(self.sizes)

    def shapes(self, info: onnx.ValueInfoProto) -> tuple[Tensor, ...] | None:
        """The input as empty tensors, one per witness; None where an axis other than the batch is open."""
        kind = info.type.tensor_type
        if not kind.HasField("shape"):
            return None
        dims = [None if is_open(d, len(kind.shape.dim)) else d.dim_value for d in kind.shape.dim]
        if info.name == self.input:
            dims = dims[1:]
        known = [d for d in dims if d is not None]
        if len(known) != len(dims):
            return None
        fronts = [(size,) if info.name == self.input else () for size in self.sizes]
        return tuple(torch.empty((*front, *known), dtype=dtype_of(kind.elem_type), device="meta") for front in fronts)


def is_open(dim: onnx.TensorShapeProto.Dimension, rank: int) -> bool:
    """Not fixed by the file. Some exporters write zero for that; a picture has no empty axis."""
    return not dim.HasField("dim_value") or dim.dim_value < 0 or (dim.dim_value == 0 and rank == 4)


def batch_of(graph: onnx.GraphProto, *, relax: bool) -> Batch:
    """Decides what varies: the first axis of the only input, if it is open, or a picture's that may be freed."""
    if len(graph.input) != 1 or not graph.input[0].type.tensor_type.HasField("shape"):
        return Batch()
    dims = graph.input[0].type.tensor_type.shape.dim
    if len(dims) < 2:
        return Batch()
    if is_open(dims[0], len(dims)):
        return Batch(input=graph.input[0].name, sizes=(2, 3, 7))
    if relax and len(dims) == 4:
        declared = dims[0].dim_value
        return Batch(input=graph.input[0].name, sizes=(declared, 2 * declared, 3 * declared), relax=True)
    return Batch()


def share_of_batch(seen: Sequence[Number], sizes: Sequence[int]) -> tuple[int, int, Number] | None:
    """(factor, divisor, offset) with `seen == factor * size // divisor + offset` at every witness, or None."""
    if all(s == seen[0] for s in seen):
        return 0, 1, seen[0]
    if any(not float(s).is_integer() for s in seen):
        return None
    slope = Fraction(int(seen[1]) - int(seen[0]), sizes[1] - sizes[0])
    offset = int(seen[0]) - slope * sizes[0]
    if offset.denominator != 1 or any(slope * size + offset != s for s, size in zip(seen, sizes, strict=True)):
        return None
    return slope.numerator, slope.denominator, int(offset)


# ---------------------------------------------------------------- freeing a fixed batch


def frees_well(freed: nn.Module, fixed: nn.Module, batch: Batch, example: Tensor) -> bool:
    """Whether the freed module gives each part of a larger batch what the module as declared gives it alone.

    `example` holds twice the declared batch.
    """
    with torch.no_grad():
        try:
            together = _tuple(freed(example))
        except (RuntimeError, ValueError, IndexError):
            return False
        parts = [_tuple(fixed(part)) for part in example.split(batch.sizes[0])]
    alone = [torch.cat(outputs) if outputs[0].dim() else outputs[0] for outputs in zip(*parts, strict=True)]
    return all(_close(a, b) for a, b in zip(together, alone, strict=True))


def _tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    finite = b.double()[torch.isfinite(b.double())]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4 * scale, equal_nan=True)


# what an export at a fixed batch has baked in, by operator


def relaxed(call: Call, batch: Batch) -> Call:
    """The same call with the batch put back into constants that an export at a fixed batch has baked in."""
    rule = _RULES.get(call.op)
    return call if rule is None else rule(call, batch)


def _reshape(call: Call, _: Batch) -> Call:
    """Where the data grows with the batch at one axis, so does the target's axis that starts at the same place."""
    data, target = call.operands[0], call.operands[1]
    axis = None if data is None else _batch_axis(data)
    if axis is None or data is None or data.shapes is None or target is None or not target.is_constant:
        return call
    assert target.known is not None
    before = data.shapes[0].shape
    wanted = _resolved(target.known[0].tolist(), before, call.attributes.get("allowzero", 0))
    place = _starting_at(wanted, before[:axis].numel(), before[axis])
    if place is None:
        return call
    grown = [
        [s * d.shape[axis] // before[axis] if i == place else s for i, s in enumerate(wanted)] for d in data.shapes
    ]
    return _with_target(call, target, grown)


def _resolved(target: list[int], size: torch.Size, allowzero: int) -> list[int]:
    wanted = [size[i] if t == 0 and not allowzero else t for i, t in enumerate(target)]
    rest = math.prod(t for t in wanted if t != -1)
    return [size.numel() // max(rest, 1) if t == -1 else t for t in wanted]


def _starting_at(wanted: list[int], before: int, extent: int) -> int | None:
    """The axis of `wanted` that begins after `before` elements' worth of outer axes and can take the batch."""
    for i, size in enumerate(wanted):
        if math.prod(wanted[:i]) == before and size % math.gcd(extent, size or 1) == 0 and size:
            return i
    return None


def _expand(call: Call, batch: Batch) -> Call:
    data, target = call.operands[0], call.operands[1]
    axis = None if data is None else _batch_axis(data)
    if axis is None or data is None or data.shapes is None or target is None or not target.is_constant:
        return call
    assert target.known is not None
    wanted = target.known[0].tolist()
    place = axis + len(wanted) - data.shapes[0].dim()
    if place < 0 or wanted[place] != batch.sizes[0]:
        return call
    grown = [[d.shape[axis] if i == place else s for i, s in enumerate(wanted)] for d in data.shapes]
    return _with_target(call, target, grown)


def _batch_axis(value: Value) -> int | None:
    """The one axis along which a tensor grows with the batch."""
    if value.shapes is None or value.shapes[0].dim() != value.shapes[1].dim():
        return None
    axes = [i for i, (a, b) in enumerate(zip(value.shapes[0].shape, value.shapes[1].shape, strict=True)) if a != b]
    return axes[0] if len(axes) == 1 else None


def _with_target(call: Call, target: Value, grown: list[list[int]]) -> Call:
    """The call with another shape to reach at each witness; it is written as numbers, so no node holds it."""
    operand = dataclasses.replace(target, known=tuple(torch.tensor(sizes) for sizes in grown))
    return dataclasses.replace(call, operands=(call.operands[0], operand))


def _concat(call: Call, batch: Batch) -> Call:
    """Constants of the fixed batch (a class token, say) are repeated to whatever the batch is."""
    axes = {_batch_axis(v) for v in call.operands if v is not None and not v.is_constant}
    axis = axes.pop() if len(axes) == 1 else None
    if axis is None or not any(v is not None and v.is_constant for v in call.operands):
        return call
    attributes = {**call.attributes, "batch_axis": axis}
    operands = tuple(_one_row(v, axis, batch.sizes[0]) if v is not None else None for v in call.operands)
    return dataclasses.replace(call, kernel=concat_repeating, operands=operands, attributes=attributes)


def _one_row(value: Value, axis: int, batch: int) -> Value:
    """A constant whose rows along the batch are all the same, as the first of them."""
    if not value.is_constant or value.known is None:
        return value
    rows = value.known[0]
    if rows.dim() <= axis or rows.shape[axis] != batch:
        return value
    first = rows.narrow(axis, 0, 1)
    if not torch.equal(rows, first.expand_as(rows)):
        return value
    return dataclasses.replace(value, known=(first.clone(),) * len(value.known))


def concat_repeating(*xs: Tensor, axis: int, batch_axis: int) -> Tensor:
    size = max(x.shape[batch_axis] for x in xs)
    wanted = [[size if i == batch_axis else -1 for i in range(x.dim())] for x in xs]
    return torch.cat([x.expand(w) for x, w in zip(xs, wanted, strict=True)], axis)


_RULES: Final = {"Concat": _concat, "Expand": _expand, "Reshape": _reshape}
