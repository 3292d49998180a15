"""Weighted nodes as torch layers, so that hooks, layer statistics and a classifier's head find what they expect.

Each builder is given the node's constant operands and attributes, and returns the layer, or None where the node is
none that torch has a layer for; the node is then computed by its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelscan_bd.batchnorm import AFFINE
from modelscan_bd.onnx_engine.ops.convolution import is_symmetric, resolve_pads
from modelscan_bd.onnx_engine.ops.quantised import rounding

Constants: TypeAlias = Sequence[Tensor | None]
Builder: TypeAlias = Callable[[Constants, Mapping[str, Any], torch.Size | None], nn.Module | None]


@final
class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding differs from side to side. `around` is left, right, top, bottom, in pixels."""

    around: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.around))


@final
class RoundedLinear(nn.Linear):
    """A linear layer of a quantised net. It rounds by itself, so that what a head returns is the logits."""

    step: Tensor
    lowest: int
    highest: int

    def forward(self, x: Tensor) -> Tensor:
        return rounding(super().forward(x), self.step, lowest=self.lowest, highest=self.highest)


def _fixed(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _conv(constants: Constants, attributes: Mapping[str, Any], size: torch.Size | None) -> nn.Module | None:
    weight, bias = constants[0], constants[1] if len(constants) > 1 else None
    if weight is None or not weight.is_floating_point() or weight.dim() not in (3, 4, 5) or not weight.numel():
        return None
    n = weight.dim() - 2
    strides, dilations = attributes.get("strides") or (1,) * n, attributes.get("dilations") or (1,) * n
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if size is None and auto_pad.startswith("SAME"):
        return None
    sizes = (0,) * n if size is None else tuple(size[2:])
    pads = resolve_pads(sizes, tuple(weight.shape[2:]), strides, dilations, attributes.get("pads"), auto_pad)
    uneven = not is_symmetric(pads)
    if uneven and n != 2:
        return None
    group = attributes.get("group", 1)
    kind: Any = {1: nn.Conv1d, 2: PaddedConv2d if uneven else nn.Conv2d, 3: nn.Conv3d}[n]
    layer: nn.Module = kind(
        weight.shape[1] * group,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=strides,
        padding=(0,) * n if uneven else pads[:n],
        dilation=dilations,
        groups=group,
        bias=bias is not None,
        device="meta",
    )
    if isinstance(layer, PaddedConv2d):
        layer.around = (pads[1], pads[3], pads[0], pads[2])
    return _filled(layer, weight=weight, bias=bias)


def _filled(layer: nn.Module, **weights: Tensor | None) -> nn.Module:
    for name, tensor in weights.items():
        setattr(layer, name, None if tensor is None else _fixed(tensor))
    return layer


def _linear(
    constants: Constants, attributes: Mapping[str, Any], size: torch.Size | None, kind: type[nn.Linear] = nn.Linear
) -> nn.Module | None:
    """Gemm (A B + C) and the engine's own Linear; the input has to be run-time, the rest constant."""
    del size
    weight, bias = constants[0], constants[1] if len(constants) > 1 else None
    if weight is None or weight.dim() != 2 or not weight.is_floating_point() or attributes.get("transA"):
        return None
    weight = weight if attributes.get("transB") else weight.T.contiguous()
    weight = weight if attributes.get("alpha", 1.0) == 1.0 else weight * attributes["alpha"]
    if bias is not None:
        if bias.numel() not in (1, len(weight)) or (bias.dim() > 1 and bias.shape[:-1].numel() != 1):
            return None
        bias = (bias.reshape(-1) * attributes.get("beta", 1.0)).expand(len(weight)).contiguous()
    layer = kind(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return _filled(layer, weight=weight, bias=bias)


def _rounded_linear(constants: Constants, attributes: Mapping[str, Any], size: torch.Size | None) -> nn.Module | None:
    layer = _linear(constants[:2], {}, size, RoundedLinear)
    if isinstance(layer, RoundedLinear):
        layer.register_buffer("step", constants[2])
        layer.lowest, layer.highest = attributes["lowest"], attributes["highest"]
    return layer


def _batch_norm(constants: Constants, attributes: Mapping[str, Any], size: torch.Size | None) -> nn.Module | None:
    if size is None or len(size) not in (2, 3, 4, 5) or attributes.get("training_mode") or len(constants) != 4:
        return None
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(size)]
    weight, bias, mean, variance = constants
    if weight is None or bias is None or mean is None or variance is None:
        return None
    layer = AFFINE[kind](len(weight), eps=attributes.get("epsilon", 1e-5), device="meta")
    layer.running_mean, layer.running_var = mean, variance
    layer.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return _filled(layer, weight=weight, bias=bias)


def _layer_norm(constants: Constants, attributes: Mapping[str, Any], size: torch.Size | None) -> nn.Module | None:
    weight, bias = constants[0], constants[1] if len(constants) > 1 else None
    if weight is None or size is None:
        return None
    shape = tuple(size[attributes.get("axis", -1) % len(size) :])
    if tuple(weight.shape) != shape or (bias is not None and tuple(bias.shape) != shape):
        return None
    layer = nn.LayerNorm(shape, eps=attributes.get("epsilon", 1e-5), bias=bias is not None, device="meta")
    return _filled(layer, weight=weight, bias=bias)


BUILDERS: Final[Mapping[str, Builder]] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Gemm": _linear,
    "LayerNormalization": _layer_norm,
    "Linear": _linear,
    "RoundedLinear": _rounded_linear,
}
