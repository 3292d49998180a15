"""Between numbers and their 8-bit codes. What `dequantise` rewrites gets here as Rounding only."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from modelscan_bd.onnx_engine.ops.convolution import linear
from modelscan_bd.onnx_engine.ops.kinds import Table
from modelscan_bd.onnx_engine.tensors import dtype_of


def _along(parameter: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point, shaped to meet `x`: one for all, one per index of `axis`, or one per block of it."""
    if parameter.numel() == 1 and parameter.dim() <= 1:
        return parameter.reshape(())
    if parameter.dim() == 1:
        return parameter.view([-1 if i == axis % x.dim() else 1 for i in range(x.dim())])
    return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis]) if block else parameter


def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """(x - zero) scale. Runs on floats too, so that a gradient reaches an integer input fed as floats."""
    real = x.to(scale.dtype)
    if zero is not None:
        real = real - _along(zero, x, axis, block_size).to(scale.dtype)
    real = real * _along(scale, x, axis, block_size)
    return real.to(dtype_of(output_dtype)) if output_dtype else real


def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """round(x / scale) + zero, clamped to the type's range; halves go to the even neighbour."""
    del saturate, precision
    kind = zero.dtype if zero is not None else dtype_of(output_dtype) if output_dtype else torch.uint8
    codes = torch.round(x.float() / _along(scale, x, axis, block_size).float())
    codes = codes if zero is None else codes + _along(zero, x, axis, block_size).float()
    limits = torch.iinfo(kind)
    return codes.clamp(limits.min, limits.max).to(kind)


def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To uint8 over the range that x itself spans, zero included."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, 1, scale)
    zero = torch.round(-low / scale).clamp(0, 255).to(torch.uint8)
    return quantize_linear(x, scale, zero), scale, zero


def matmul_integer(a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    """Exact in double precision, which holds every sum of products of bytes that an int32 holds."""
    left, right = a.double(), b.double()
    if a_zero is not None:
        left = left - (a_zero.double().unsqueeze(-1) if a_zero.dim() == 1 and a_zero.numel() > 1 else a_zero.double())
    if b_zero is not None:
        right = right - b_zero.double()
    return (left @ right).to(torch.int32)


def rounding(x: Tensor, step: Tensor, *, lowest: int, highest: int) -> Tensor:
    """Numbers of any shape through 8-bit codes and back: multiples of `step`, from `lowest` to `highest` of them.

    It has two readings. In a plain forward pass it is what ONNX defines for QuantizeLinear and then DequantizeLinear:
    halves go to the even neighbour, the ends saturate; so labels are the file's own. While gradients of `x` are
    recorded it is the clip to the same range, without the rounding, whose derivative is zero nearly everywhere; so
    the gradient is the derivative of what is computed, with no straight-through pretence. The readings differ by at
    most half a step here, and over a net by the rounding noise that quantising it has brought.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return x.clamp(step * lowest, step * highest)
    return torch.div(x, step).round().clamp(lowest, highest) * step


def rounded_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, step: Tensor, *, lowest: int, highest: int
) -> Tensor:
    """The engine's own: x W + b through codes and back; `weight` is (d, k)."""
    return rounding(linear(x, weight, bias), step, lowest=lowest, highest=highest)


OPERATORS: Final[Table] = {
    "DequantizeLinear": dequantize_linear,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "MatMulInteger": matmul_integer,
    "QuantizeLinear": quantize_linear,
    "RoundedLinear": rounded_linear,
    "Rounding": rounding,
}
