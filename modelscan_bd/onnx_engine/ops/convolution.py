"""Convolutions and matrix products, as functions of all their operands."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.ops.kinds import Number, Table

Pads = tuple[int, ...]
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_DECONV = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def same_pads(
    sizes: tuple[int, ...], kernel: tuple[int, ...], strides: Pads, dilations: Pads, *, auto_pad: str
) -> Pads:
    """The pads (all befores, then all afters) that keep ceil(size / stride) positions; the odd one goes to one side."""
    before, after = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        needed = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        small, large = needed // 2, needed - needed // 2
        before.append(small if auto_pad == "SAME_UPPER" else large)
        after.append(large if auto_pad == "SAME_UPPER" else small)
    return (*before, *after)


def resolve_pads(
    sizes: tuple[int, ...], kernel: tuple[int, ...], strides: Pads, dilations: Pads, pads: Pads | None, auto_pad: str
) -> Pads:
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(sizes, kernel, strides, dilations, auto_pad=auto_pad)
    if auto_pad not in ("NOTSET", "VALID"):
        raise UnsupportedModel(f"auto_pad '{auto_pad}' is not known")
    return (0,) * (2 * len(kernel)) if pads is None or auto_pad == "VALID" else pads


def pad_spatial(x: Tensor, pads: Pads, fill: Number = 0.0) -> Tensor:
    """Pads the last axes; `pads` as ONNX lists them. Negative pads crop."""
    half = len(pads) // 2
    return F.pad(x, [p for i in reversed(range(half)) for p in (pads[i], pads[i + half])], value=fill)


def is_symmetric(pads: Pads) -> bool:
    half = len(pads) // 2
    return pads[:half] == pads[half:] and min(pads, default=0) >= 0


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Pads | None = None,
    group: int = 1,
    kernel_shape: Pads | None = None,
    pads: Pads | None = None,
    strides: Pads | None = None,
) -> Tensor:
    del kernel_shape  # the weight knows it
    spatial = weight.dim() - 2
    strides, dilations = strides or (1,) * spatial, dilations or (1,) * spatial
    around = resolve_pads(tuple(x.shape[2:]), tuple(weight.shape[2:]), strides, dilations, pads, auto_pad)
    if is_symmetric(around):
        return _CONV[spatial](x, weight, bias, strides, around[:spatial], dilations, group)
    return _CONV[spatial](pad_spatial(x, around), weight, bias, strides, 0, dilations, group)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Pads | None = None,
    group: int = 1,
    kernel_shape: Pads | None = None,
    output_padding: Pads | None = None,
    output_shape: Pads | None = None,
    pads: Pads | None = None,
    strides: Pads | None = None,
) -> Tensor:
    """The full transposed convolution, grown by `output_padding`, then cropped by the pads."""
    del kernel_shape
    n = weight.dim() - 2
    strides, dilations, extra = strides or (1,) * n, dilations or (1,) * n, output_padding or (0,) * n
    full = _DECONV[n](x, weight, None, strides, 0, 0, group, dilations)
    full = pad_spatial(full, (0,) * n + extra)
    crop = _crop(tuple(full.shape[2:]), tuple(x.shape[2:]), strides, pads, output_shape, auto_pad)
    y = pad_spatial(full, tuple(-p for p in crop))
    return y if bias is None else y + bias.view(-1, *(1,) * n)


def _crop(full: Pads, sizes: Pads, strides: Pads, pads: Pads | None, wanted: Pads | None, auto_pad: str) -> Pads:
    if wanted is None and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return pads or (0,) * (2 * len(full))
    wanted = wanted or tuple(s * stride for s, stride in zip(sizes, strides, strict=True))
    total = [f - w for f, w in zip(full, wanted[-len(full) :], strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (*small, *large) if auto_pad == "SAME_UPPER" else (*large, *small)


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """alpha A B + beta C, with A and B transposed on request."""
    y = (a.T if transA else a) @ (b.T if transB else b)
    y = y if alpha == 1 else (y * alpha).to(y.dtype)
    if c is None:
        return y
    return y + (c if beta == 1 else (c * beta).to(c.dtype))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W + b with W (d, k): what the engine makes of a MatMul followed by an Add."""
    y = x @ weight
    return y if bias is None else y + bias


def einsum(*xs: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *xs)


OPERATORS: Final[Table] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Einsum": einsum,
    "Gemm": gemm,
    "Linear": linear,
    "MatMul": torch.matmul,
}
