"""The same numbers in another shape, type or order."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.ops.kinds import Ints, Number, Scalar, Table
from modelscan_bd.onnx_engine.tensors import dtype_of


def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    del saturate, round_mode  # concern 8-bit floats only, which torch cannot compute with
    return x.to(dtype_of(to))


def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    del saturate, round_mode
    return x.to(like.dtype)


def reshape(x: Tensor, shape: Ints, *, allowzero: int = 0) -> Tensor:
    """A zero keeps the size of that axis, unless `allowzero`."""
    return x.reshape(tuple(shape) if allowzero else [x.shape[i] if s == 0 else s for i, s in enumerate(shape)])


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """To two axes: those before `axis` and the rest."""
    axis += x.dim() if axis < 0 else 0
    front = 1
    for size in x.shape[:axis]:
        front *= size
    return x.reshape(front, -1) if x.numel() else x.reshape(front, x.shape[axis:].numel())


def transpose(x: Tensor, *, perm: tuple[int, ...] | None = None) -> Tensor:
    return x.permute(tuple(reversed(range(x.dim()))) if perm is None else perm)


def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    if axes is None:
        return x.squeeze()
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"Squeeze of axes {axes} in a tensor of shape {tuple(x.shape)}")
    return x.squeeze(axes)


def unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def concat(*xs: Tensor, axis: int) -> Tensor:
    return torch.cat(xs, axis)


def split(
    x: Tensor, sizes: Ints | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int = 1
) -> tuple[Tensor, ...]:
    """Without sizes: equal parts, the last one smaller where the axis does not divide."""
    if sizes is None:
        count = outputs if num_outputs is None else num_outputs
        if count != outputs:
            raise ValueError(f"{count} parts for {outputs} outputs")
        part = -(-x.shape[axis] // count)
        sizes = tuple(max(0, min(part, x.shape[axis] - i * part)) for i in range(count))
    return tuple(torch.split(x, list(sizes), axis))


def expand(x: Tensor, shape: Ints) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape)))


def tile(x: Tensor, repeats: Ints) -> Tensor:
    return x.repeat(tuple(repeats))


def pad(
    x: Tensor, pads: Ints, fill: Scalar | None = None, axes: Ints | None = None, *, mode: str = "constant"
) -> Tensor:
    """Negative pads crop. Reflection and the like work axis by axis, so for any number of axes."""
    which = tuple(range(x.dim())) if axes is None else tuple(a % x.dim() for a in axes)
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(which):
        before[axis], after[axis] = pads[i], pads[i + len(which)]
    if mode == "constant":
        flat = [p for axis in reversed(range(x.dim())) for p in (before[axis], after[axis])]
        return F.pad(x, flat, value=0 if fill is None else fill)
    for axis in range(x.dim()):
        if before[axis] or after[axis]:
            x = x.index_select(axis, _source(x, axis, before[axis], after[axis], mode))
    return x


def _source(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Which position along `axis` each padded one repeats."""
    size = x.shape[axis]
    at = torch.arange(-before, size + after, device=x.device)
    if mode == "edge":
        return at.clamp(0, size - 1)
    if mode == "wrap":
        return at % size
    if mode == "reflect":
        period = max(2 * (size - 1), 1)
        at = at % period
        return torch.where(at < size, at, period - at)
    raise UnsupportedModel(f"Pad in mode '{mode}' is not known")


def slice_(x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None) -> Tensor:
    """Python's slices, axis by axis; steps backwards flip what they select."""
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = i if axes is None else axes[i] % x.dim()
        step = 1 if steps is None else steps[i]
        x = _forward(x, axis, start, end, step) if step > 0 else _backward(x, axis, start, end, step)
    return x


def _forward(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    size = x.shape[axis]
    start = min(max(start + size if start < 0 else start, 0), size)
    end = min(max(end + size if end < 0 else end, start), size)
    whole = x.narrow(axis, start, end - start)
    return whole if step == 1 else whole[(slice(None),) * axis + (slice(None, None, step),)]


def _backward(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    positions = range(x.shape[axis])[slice(start, None if end < -x.shape[axis] else end, step)]
    return x.index_select(axis, torch.tensor(list(positions), dtype=torch.int64, device=x.device))


def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def size(x: Tensor) -> Tensor:
    return torch.tensor(x.shape.numel(), dtype=torch.int64)


def constant_of_shape(shape: Ints, *, value: Number = 0.0, value_dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(tuple(shape), value, dtype=value_dtype)


def range_(start: Scalar, limit: Scalar, delta: Scalar, *, input_dtype: torch.dtype) -> Tensor:
    if delta == 0 or (limit - start) / delta <= 0:
        return torch.empty(0, dtype=input_dtype)
    return torch.arange(start, limit, delta, dtype=input_dtype)


def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    if mode == "CRD":
        return x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // (b * b), h * b, w * b)
    return x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 1, 3, 5, 2, 4) if mode == "CRD" else (0, 3, 5, 1, 2, 4)
    return blocks.permute(order).reshape(n, c * b * b, h // b, w // b)


OPERATORS: Final[Table] = {
    "Cast": cast,
    "CastLike": cast_like,
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
