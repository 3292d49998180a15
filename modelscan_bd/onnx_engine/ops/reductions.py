"""Sums, extremes and their like over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from modelscan_bd.onnx_engine.ops.kinds import Ints, Number, Scalar, Table

Axes = tuple[int, ...]


def _over(
    x: Tensor, axes: Axes | None, keepdims: int, noop: int, reduce: Callable[[Tensor, Axes, bool], Tensor]
) -> Tensor:
    """Applies `reduce` over `axes`; none given means all, or with `noop` each element on its own."""
    if not axes and noop:
        return reduce(x.unsqueeze(0), (0,), False)
    which = tuple(a % x.dim() for a in axes) if axes else tuple(range(x.dim()))
    if not which:
        return reduce(x.unsqueeze(0), (0,), False)
    return reduce(x, which, bool(keepdims))


def _sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.sum(axes, keep).to(x.dtype)


def _prod(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keep).to(x.dtype)
    return x


def reduce_sum(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _over(x, axes, keepdims, noop_with_empty_axes, _sum)


def reduce_mean(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    if x.is_floating_point() and axes:
        return x.mean(axes, bool(keepdims))
    return _over(x, axes, keepdims, noop_with_empty_axes, _mean)


def _mean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.mean(axes, keep) if x.is_floating_point() else x.double().mean(axes, keep).to(x.dtype)


def reduce_max(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _over(x, axes, keepdims, noop_with_empty_axes, _max)


def _max(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    if any(x.shape[a] == 0 for a in axes):
        return torch.full_like(x.sum(axes, keep), _extreme(x.dtype, -1), dtype=x.dtype)
    return x.amax(axes, keep)


def reduce_min(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _over(x, axes, keepdims, noop_with_empty_axes, _min)


def _min(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    if any(x.shape[a] == 0 for a in axes):
        return torch.full_like(x.sum(axes, keep), _extreme(x.dtype, 1), dtype=x.dtype)
    return x.amin(axes, keep)


def _extreme(dtype: torch.dtype, sign: int) -> Number:
    """What the extreme of nothing is."""
    if dtype is torch.bool:
        return sign > 0
    limits = torch.iinfo(dtype) if not dtype.is_floating_point else None
    return sign * torch.inf if limits is None else limits.max if sign > 0 else limits.min


def reduce_prod(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _over(x, axes, keepdims, noop_with_empty_axes, _prod)


def reduce_l1(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _over(x.abs(), axes, keepdims, noop_with_empty_axes, _sum)


def reduce_l2(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return _over(x, axes, keepdims, noop_with_empty_axes, _norm)


def _norm(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    if x.is_floating_point():
        norm: Tensor = torch.linalg.vector_norm(x, 2, axes, keep)
        return norm
    return torch.sqrt((x.double() ** 2).sum(axes, keep)).to(x.dtype)


def reduce_sum_square(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    return _over(x * x, axes, keepdims, noop_with_empty_axes, _sum)


def reduce_log_sum(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return torch.log(_over(x, axes, keepdims, noop_with_empty_axes, _sum))


def reduce_log_sum_exp(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    return _over(x, axes, keepdims, noop_with_empty_axes, _log_sum_exp)


def _log_sum_exp(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keep)


def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if not select_last_index:
        return x.argmax(axis, bool(keepdims))
    return x.shape[axis] - 1 - x.flip(axis).argmax(axis, bool(keepdims))


def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if not select_last_index:
        return x.argmin(axis, bool(keepdims))
    return x.shape[axis] - 1 - x.flip(axis).argmin(axis, bool(keepdims))


def cumulative_sum(x: Tensor, axis: Scalar, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    along = int(axis)
    work = x.flip(along) if reverse else x
    y = work.cumsum(along).to(x.dtype)
    y = y - work if exclusive else y
    return y.flip(along) if reverse else y


def cumulative_product(x: Tensor, axis: Scalar, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    along = int(axis)
    work = x.flip(along) if reverse else x
    if exclusive:
        first = torch.ones_like(work.narrow(along, 0, 1))
        work = torch.cat([first, work.narrow(along, 0, work.shape[along] - 1)], along)
    y = work.cumprod(along).to(x.dtype)
    return y.flip(along) if reverse else y


OPERATORS: Final[Table] = {
    "ArgMax": arg_max,
    "ArgMin": arg_min,
    "CumProd": cumulative_product,
    "CumSum": cumulative_sum,
    "ReduceL1": reduce_l1,
    "ReduceL2": reduce_l2,
    "ReduceLogSum": reduce_log_sum,
    "ReduceLogSumExp": reduce_log_sum_exp,
    "ReduceMax": reduce_max,
    "ReduceMean": reduce_mean,
    "ReduceMin": reduce_min,
    "ReduceProd": reduce_prod,
    "ReduceSum": reduce_sum,
    "ReduceSumSquare": reduce_sum_square,
}
