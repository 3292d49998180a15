"""What stands between the weighted layers: activations, softmax, dropout."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from modelscan_bd.onnx_engine.ops.kinds import Table


def identity(x: Tensor) -> Tensor:
    return x


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Files from before opset 7 give one slope per channel as a plain vector, which broadcasts to no last axis."""
    if slope.dim() == 1 and x.dim() > 2 and slope.numel() == x.shape[1] != x.shape[-1]:
        slope = slope.view(-1, *(1,) * (x.dim() - 2))
    return torch.where(x < 0, x * slope, x)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    return gamma * F.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.celu(x, alpha)


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > alpha, x, 0)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


def hard_swish(x: Tensor) -> Tensor:
    return F.hardswish(x)


def softplus(x: Tensor) -> Tensor:
    return torch.where(x > 20, x, torch.log1p(torch.exp(x.clamp(max=20))))


def softsign(x: Tensor) -> Tensor:
    return F.softsign(x)


def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.log_softmax(x, axis)


def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(x, approximate=approximate)


def mish(x: Tensor) -> Tensor:
    return F.mish(x)


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * torch.sigmoid(alpha * x)


def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0)).to(x.dtype)


def dropout(
    x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None, *, seed: int = 0, outputs: int = 1
) -> Tensor | tuple[Tensor, Tensor]:
    """Inference only: an identity. Dropout that is told to train is refused before it gets here."""
    del ratio, training, seed
    return x if outputs == 1 else (x, torch.ones_like(x, dtype=torch.bool))


OPERATORS: Final[Table] = {
    "Celu": celu,
    "Dropout": dropout,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Hardmax": hardmax,
    "Identity": identity,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Mish": mish,
    "PRelu": prelu,
    "Relu": torch.relu,
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": torch.sigmoid,
    "Softmax": softmax,
    "Softplus": softplus,
    "Softsign": softsign,
    "Swish": swish,
    "Tanh": torch.tanh,
    "ThresholdedRelu": thresholded_relu,
}
