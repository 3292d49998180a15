"""Batch normalisation whose input gradient can be trusted.

torch 2.13 on the CPU returns a wrong input gradient for a batch normalisation in eval mode when the batch holds one
image and the incoming gradient is laid out like channels-last (as behind `flatten(2).transpose(1, 2)` in the stems of
LeViT and XCiT): errors of several times the gradient. In eval mode the layer is no more than an affine map of each
channel, so it is computed as one, and autograd has nothing left to get wrong.
"""

from __future__ import annotations

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
    # in x's own precision: under autocast a float32 scale would lift every layer behind it to float32
    return torch.addcmul(shift.to(x.dtype).view(shape), x, scale.to(x.dtype).view(shape))


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
    """`module` itself, its batch normalisations now with correct input gradients on every torch and every batch size.

    Names, parameters and statistics stay where they are. Layers that keep no statistics are left alone. A library's own
    subclass (timm fuses the activation in, for instance) keeps its code; the gradient that enters it is laid out anew.
    """
    for norm in module.modules():
        if type(norm) in AFFINE and norm.running_mean is not None:
            norm.__class__ = AFFINE[type(norm)]
        elif isinstance(norm, _BatchNorm) and type(norm) not in AFFINE.values() and norm.running_mean is not None:
            norm.register_forward_hook(lambda _, __, y: _PlainLayout.apply(y))  # type: ignore[no-untyped-call]
    return module


@final
class _PlainLayout(torch.autograd.Function):
    """The identity; its gradient arrives contiguous."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient.contiguous()
