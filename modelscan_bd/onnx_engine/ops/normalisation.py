"""Normalisation layers, as functions of all their operands; statistics are never those of training."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from modelscan_bd.onnx_engine.ops.kinds import Table


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """An affine map of each channel. In training mode the batch's own statistics, as ONNX defines them."""
    if not training_mode:
        return _affine(x, scale, bias, mean, variance, epsilon)
    over = tuple(a for a in range(x.dim()) if a != 1)
    own_mean, own_variance = x.mean(over), x.var(over, unbiased=False)
    y = _affine(x, scale, bias, own_mean, own_variance, epsilon)
    running = (mean * momentum + own_mean * (1 - momentum), variance * momentum + own_variance * (1 - momentum))
    return y if outputs == 1 else (y, *running)[:outputs]


def training_batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    outputs: int = 1,
) -> tuple[Tensor, ...]:
    """By the input's own statistics, whatever the stored ones: what the engine makes of five outputs."""
    del momentum
    over = tuple(a for a in range(x.dim()) if a != 1)
    y = _affine(x, scale, bias, x.mean(over), x.var(over, unbiased=False), epsilon)
    return (y, *[mean, variance, mean, variance][: outputs - 1])


def _affine(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    shape = (1, -1) + (1,) * (x.dim() - 2)
    factor = scale / torch.sqrt(variance + epsilon)
    return (x * factor.view(shape) + (bias - mean * factor).view(shape)).to(x.dtype)


def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    over = tuple(range(2, x.dim()))
    shape = (1, -1) + (1,) * (x.dim() - 2)
    centred = x - x.mean(over, keepdim=True)
    unit = centred * torch.rsqrt((centred * centred).mean(over, keepdim=True) + epsilon)
    return unit * scale.view(shape) + bias.view(shape)


def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    del stash_type
    sizes = x.shape[axis % x.dim() :]
    if outputs == 1 and scale.shape == sizes and (bias is None or bias.shape == sizes):
        return F.layer_norm(x, sizes, scale, bias, epsilon)
    over = tuple(range(axis % x.dim(), x.dim()))
    work = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean = work.mean(over, keepdim=True)
    inverse = torch.rsqrt(((work - mean) ** 2).mean(over, keepdim=True) + epsilon)
    y = ((work - mean) * inverse).to(x.dtype) * scale
    return (
        (y if bias is None else y + bias, mean, inverse)[:outputs] if outputs > 1 else y + (0 if bias is None else bias)
    )


def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    del stash_type
    over = tuple(range(axis % x.dim(), x.dim()))
    work = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    unit = work * torch.rsqrt((work * work).mean(over, keepdim=True) + epsilon)
    return unit.to(x.dtype) * scale


def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    del stash_type
    return F.group_norm(x, num_groups, scale, bias, epsilon)


def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return torch.where(norm == 0, 0, x / torch.where(norm == 0, 1, norm))


def local_response(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """Krizhevsky et al. 2012: each value is damped by the squares of its neighbours among the channels."""
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = F.pad(x * x, (0, 0) * (x.dim() - 2) + (before, after))
    near = squares.unfold(1, size, 1).sum(-1)
    return x / (bias + alpha / size * near) ** beta


def mean_variance_normalization(x: Tensor, *, axes: tuple[int, ...] = (0, 2, 3)) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + 1e-9)


OPERATORS: Final[Table] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": rms_normalization,
    "TrainingBatchNormalization": training_batch_normalization,
}
