"""Pooling. Everything beyond torch's own pools is padded by hand first, so that each window is as ONNX counts it."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from modelscan_bd.onnx_engine.ops.convolution import Pads, is_symmetric, pad_spatial, resolve_pads
from modelscan_bd.onnx_engine.ops.kinds import Ints, Table

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _overhang(sizes: Pads, kernel: Pads, strides: Pads, dilations: Pads, pads: Pads) -> Pads:
    """How far the last window of `ceil_mode` reaches beyond the padded picture, per axis."""
    extra, n = [], len(kernel)
    for i, size in enumerate(sizes):
        reach = dilations[i] * (kernel[i] - 1) + 1
        padded = size + pads[i] + pads[i + n]
        count = -(-(padded - reach) // strides[i]) + 1
        if (count - 1) * strides[i] >= size + pads[i]:  # that window would see nothing but padding
            count -= 1
        extra.append(max((count - 1) * strides[i] + reach - padded, 0))
    return tuple(extra)


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Pads,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Pads | None = None,
    pads: Pads | None = None,
    storage_order: int = 0,
    strides: Pads | None = None,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    n = len(kernel_shape)
    strides, dilations = strides or (1,) * n, dilations or (1,) * n
    around = resolve_pads(tuple(x.shape[2:]), kernel_shape, strides, dilations, pads, auto_pad)
    if ceil_mode:
        over = _overhang(tuple(x.shape[2:]), kernel_shape, strides, dilations, around)
        around = (*around[:n], *(a + o for a, o in zip(around[n:], over, strict=True)))
    plain = outputs == 1 and x.is_floating_point() and is_symmetric(around)
    if plain and all(2 * p <= k for p, k in zip(around, kernel_shape, strict=False)):
        return _MAX[n](x, kernel_shape, strides, around[:n], dilations)
    lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    padded = pad_spatial(x, around, lowest)
    work = padded if x.is_floating_point() else padded.to(torch.float64)
    y, where = _MAX[n](work, kernel_shape, strides, 0, dilations, return_indices=True)
    y = y.to(x.dtype)
    return y if outputs == 1 else (y, _original_indices(x, where, tuple(padded.shape[2:]), around, storage_order))


def _original_indices(x: Tensor, where: Tensor, padded: Pads, pads: Pads, storage_order: int) -> Tensor:
    """From positions in the padded picture to positions in the whole flattened input, as ONNX wants them."""
    place = list(torch.unravel_index(where, padded))
    place = [p - before for p, before in zip(place, pads, strict=False)]
    sizes = list(x.shape[2:])
    if storage_order:
        place, sizes = place[::-1], sizes[::-1]
    flat = torch.zeros_like(where)
    for p, size in zip(place, sizes, strict=True):
        flat = flat * size + p
    picture = torch.arange(x.shape[0] * x.shape[1], device=x.device).view(x.shape[0], x.shape[1], *(1,) * len(sizes))
    return flat + picture * x.shape[2:].numel()


def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Ints | None = None,
    *,
    kernel_shape: Pads,
    pads: Pads | None = None,
    strides: Pads | None = None,
) -> Tensor:
    """Indices count within the flattened tensor of the default size, whatever `output_shape` asks for around it."""
    n = len(kernel_shape)
    strides, pads = strides or (1,) * n, pads or (0,) * (2 * n)
    sizes = tuple((s - 1) * strides[i] + kernel_shape[i] - pads[i] - pads[i + n] for i, s in enumerate(x.shape[2:]))
    flat = x.new_zeros(x.shape[:2].numel() * torch.Size(sizes).numel())
    y = flat.scatter(0, indices.flatten(), x.flatten()).reshape(*x.shape[:2], *sizes)
    if output_shape is None:
        return y
    return pad_spatial(y, (0,) * n + tuple(w - s for w, s in zip(output_shape[2:], sizes, strict=True)))


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Pads,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Pads | None = None,
    pads: Pads | None = None,
    strides: Pads | None = None,
) -> Tensor:
    n = len(kernel_shape)
    strides, dilations = strides or (1,) * n, dilations or (1,) * n
    around = resolve_pads(tuple(x.shape[2:]), kernel_shape, strides, dilations, pads, auto_pad)
    plain = not ceil_mode and set(dilations) == {1} and is_symmetric(around)
    if n == 2 and plain and all(2 * p <= k for p, k in zip(around, kernel_shape, strict=False)):
        return F.avg_pool2d(x, kernel_shape, strides, around[:n], False, bool(count_include_pad))
    over = _overhang(tuple(x.shape[2:]), kernel_shape, strides, dilations, around) if ceil_mode else (0,) * n
    whole = (*around[:n], *(a + o for a, o in zip(around[n:], over, strict=True)))
    ones = torch.ones_like(x[:1, :1])
    counted = pad_spatial(ones, around, 1.0) if count_include_pad else pad_spatial(ones, around)
    counted = pad_spatial(counted, (0,) * n + over)
    windows = (kernel_shape, strides, dilations)
    return _window_sum(pad_spatial(x, whole), *windows) / _window_sum(counted, *windows)


def _window_sum(x: Tensor, kernel: Pads, strides: Pads, dilations: Pads) -> Tensor:
    ones = torch.ones(1, 1, *kernel, dtype=x.dtype, device=x.device)
    y = _CONV[len(kernel)](x.reshape(-1, 1, *x.shape[2:]), ones, None, strides, 0, dilations)
    return y.reshape(*x.shape[:2], *y.shape[2:])


def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Pads,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Pads | None = None,
    p: int = 2,
    pads: Pads | None = None,
    strides: Pads | None = None,
) -> Tensor:
    n = len(kernel_shape)
    strides, dilations = strides or (1,) * n, dilations or (1,) * n
    around = resolve_pads(tuple(x.shape[2:]), kernel_shape, strides, dilations, pads, auto_pad)
    over = _overhang(tuple(x.shape[2:]), kernel_shape, strides, dilations, around) if ceil_mode else (0,) * n
    whole = (*around[:n], *(a + o for a, o in zip(around[n:], over, strict=True)))
    return _window_sum(pad_spatial(x.abs() ** p, whole), kernel_shape, strides, dilations) ** (1 / p)


def global_average_pool(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    return (x.abs() ** p).sum(tuple(range(2, x.dim())), keepdim=True) ** (1 / p)


OPERATORS: Final[Table] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalLpPool": global_lp_pool,
    "GlobalMaxPool": global_max_pool,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
}
