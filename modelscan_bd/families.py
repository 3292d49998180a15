"""Families of networks: a coarse name for how one is built, read off its layers, since file names may lie."""

from __future__ import annotations

from torch import nn

CONVOLUTIONAL, DEPTHWISE, LINEAR = "convolutional", "depthwise convolutional", "transformer or linear"


def family(net: nn.Module) -> str:
    """By which layers prevail: transformers and perceptrons have more linear ones than convolutions."""
    modules = list(net.modules())
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    if len([module for module in modules if isinstance(module, nn.Linear)]) > len(convolutions):
        return LINEAR
    return DEPTHWISE if any(1 < layer.groups == layer.in_channels for layer in convolutions) else CONVOLUTIONAL
