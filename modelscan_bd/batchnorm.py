"""Batch normalisation whose input gradient can be trusted.

torch 2.13 on the CPU returns a wrong input gradient for a batch normalisation in eval mode when the batch holds one
image and the incoming gradient is laid out like channels-last (as behind `flatten(2).transpose(1, 2)` in the stems of
LeViT and XCiT): errors of several times the gradient. In eval mode the layer is no more than an affine map of each
channel, so it is computed as one, and autograd has nothing left to get wrong.
"""

from __future__ import annotations

import copy
from typing import Final, final

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


AFFINE: Final = {
    nn.BatchNorm1d: AffineBatchNorm1d,
    nn.BatchNorm2d: AffineBatchNorm2d,
    nn.BatchNorm3d: AffineBatchNorm3d,
}


def with_affine_batchnorm(net: nn.Module) -> nn.Module:
    """`net` itself, each of its plain batch normalisations now computed as an affine map in eval mode.

    Only the class of a layer changes; its names, weights and statistics stay where they were.
    """
    for module in net.modules():
        if type(module) in AFFINE:
            module.__class__ = AFFINE[type(module)]
    return net
