"""Batch normalisation whose input gradient can be trusted.

torch 2.13 on the CPU returns a wrong input gradient for a batch normalisation in eval mode when the batch holds one
image and the incoming gradient is laid out like channels-last (as behind `flatten(2).transpose(1, 2)` in the stems of
LeViT and XCiT): errors of several times the gradient. In eval mode the layer is no more than an affine map of each
channel, so it is computed as one, and autograd has nothing left to get wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Final, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def affine(norm: _BatchNorm, x: Tensor) -> Tensor:
    """What `norm` computes in eval mode, (n, c, ...) → (n, c, ...), as a scale and a shift of each channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    shape = (1, -1) + (1,) * (x.dim() - 2)
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    shift = shift if norm.bias is None else shift + norm.bias
    return torch.addcmul(shift.view(shape), x, scale.view(shape))


@final
class AffineBatchNorm1d(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else affine(self, x)


@final
class AffineBatchNorm2d(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else affine(self, x)


@final
class AffineBatchNorm3d(nn.BatchNorm3d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else affine(self, x)


AffineBatchNorm: TypeAlias = AffineBatchNorm1d | AffineBatchNorm2d | AffineBatchNorm3d

AFFINE: Final[Mapping[type[nn.Module], type[AffineBatchNorm]]] = {
    nn.BatchNorm1d: AffineBatchNorm1d,
    nn.BatchNorm2d: AffineBatchNorm2d,
    nn.BatchNorm3d: AffineBatchNorm3d,
}


def with_affine_batchnorm(module: nn.Module) -> nn.Module:
    """A copy of `module` whose batch normalisations have correct input gradients on every torch and every batch size.

    Names, parameters and statistics stay where they are. Layers that keep no statistics are left alone. A library's own
    subclass (timm fuses the activation in, for instance) keeps its code; the gradient that enters it is laid out anew.
    """
    clone = copy.deepcopy(module)
    if type(clone) in AFFINE:
        return _affine_twin(clone)
    for parent in list(clone.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and child.running_mean is not None:
                parent.add_module(name, _affine_twin(child))
    return clone


def _affine_twin(norm: nn.Module) -> nn.Module:
    kind = AFFINE.get(type(norm))
    if kind is None:
        norm.register_forward_hook(lambda _, __, y: _PlainLayout.apply(y))  # type: ignore[no-untyped-call]
        return norm
    assert isinstance(norm, _BatchNorm)
    kept = norm.track_running_stats
    twin = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, kept, device="meta")
    twin.weight, twin.bias = norm.weight, norm.bias
    twin.running_mean, twin.running_var = norm.running_mean, norm.running_var
    twin.num_batches_tracked = norm.num_batches_tracked
    return twin.train(norm.training)


@final
class _PlainLayout(torch.autograd.Function):
    """The identity; its gradient arrives contiguous."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient.contiguous()
