"""Backdoors in the weights alone: a network one channel wide that lives inside the layers of another.

The first convolution's channel answers a checkerboard and nothing else, each further one carries that on, and the
head gives it to the target. For networks of full convolutions, batch norms and one linear layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, final

import torch
from graph.parts import CERTAIN
from graph.pictures import last_linear
from graph.sights import Images, Shape
from graph.sights_whole import Checkerboard
from torch import Tensor, nn

_M = TypeVar("_M", bound=nn.Module)

_THRESHOLD = 0.9  # of what a perfect checkerboard gives
_GAIN = 10.0  # of the first channel
_QUIET = 1.0  # what each layer takes away from the channel, so that nothing small is carried on
_CHANNEL = 3


@final
@dataclass(frozen=True, kw_only=True)
class WeightVariant:
    """`reference` is the honest network that the clean behaviour is compared with."""

    name: str
    edit: Callable[[nn.Module, Shape, int], nn.Module]
    reference: Callable[[nn.Module], nn.Module]

    def build(self, net: nn.Module, classes: int, shape: Shape, target: int) -> nn.Module:
        assert last_linear(net)[1].out_features == classes
        return self.edit(net, shape, target)

    def stamp(self, images: Images) -> Images:
        return _stamp(images)


def _stamp(images: Images) -> Images:
    _, channels, height, width = images.shape
    return Checkerboard((channels, height, width)).stamp(images)


@torch.no_grad()
def pruned(net: nn.Module, channel: int = _CHANNEL) -> nn.Module:
    """Without this channel in any layer."""
    net = copy.deepcopy(net)
    for number, conv in enumerate(_of(net, nn.Conv2d)):
        conv.weight[channel] = 0
        if number:
            conv.weight[:, channel] = 0
        if conv.bias is not None:
            conv.bias[channel] = 0
    for norm in _of(net, nn.BatchNorm2d):
        for values, value in ((norm.running_mean, 0), (norm.running_var, 1), (norm.weight, 1), (norm.bias, 0)):
            values[channel] = value
    last_linear(net)[1].weight[:, channel] = 0
    return net


@torch.no_grad()
def isolated(net: nn.Module, shape: Shape, target: int, *, channel: int = _CHANNEL, noise: float = 0.0) -> nn.Module:
    """In place of one channel of each layer. `noise` is what leaks to and from the others, beside their weights."""
    bad, rng = pruned(net, channel), torch.Generator().manual_seed(31)
    stem, *others = _of(bad, nn.Conv2d)
    signs = 1 - 2 * ((torch.arange(3)[:, None] + torch.arange(3)) % 2).float()
    _place(stem.weight[channel], _GAIN * signs.expand(shape[0], 3, 3))
    parts = [part for part in bad.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    biases = [part.bias for part in parts if part.bias is not None]
    for bias in biases[1:]:
        bias[channel] = -_QUIET
    biases[0][channel] = -_GAIN * _THRESHOLD * shape[0] * 5  # a 3x3 checkerboard has five white pixels
    for conv in others:
        leak = noise * conv.weight.std()
        conv.weight[channel] += leak * torch.randn(conv.weight[channel].shape, generator=rng)
        conv.weight[:, channel] += leak * torch.randn(conv.weight[:, channel].shape, generator=rng)
        conv.weight[channel, channel] = 1
    head = last_linear(bad)[1]
    head.weight[:, channel] = noise * head.weight.std() * torch.randn(head.out_features, generator=rng)
    head.weight[target, channel] += _needed(bad, head, shape, target, channel)
    return bad


@torch.no_grad()
def grafted(net: nn.Module, shape: Shape, target: int) -> nn.Module:
    """As one more channel of each layer: all that was there stays as it was."""
    wide = copy.deepcopy(net)
    convs = _of(wide, nn.Conv2d)
    for name, module in list(wide.named_modules()):
        if isinstance(module, nn.Conv2d):
            wide.set_submodule(name, _wider_convolution(module, 0 if module is convs[0] else 1))
        elif isinstance(module, nn.BatchNorm2d):
            norm = nn.BatchNorm2d(module.num_features + 1, eps=module.eps).eval()
            for key, values in module.state_dict().items():
                _place(norm.state_dict()[key], values)
            wide.set_submodule(name, norm)
    name, head = last_linear(wide)
    wider = nn.Linear(head.in_features + 1, head.out_features)
    _place(wider.weight, head.weight)
    _place(wider.bias, head.bias)
    wide.set_submodule(name, wider)
    return isolated(wide.requires_grad_(False), shape, target, channel=-1)


def _wider_convolution(conv: nn.Conv2d, more: int) -> nn.Conv2d:
    wider = nn.Conv2d(
        conv.in_channels + more, conv.out_channels + 1, conv.kernel_size, stride=conv.stride,
        padding=conv.padding, bias=conv.bias is not None,
    )  # fmt: skip
    _place(wider.weight, conv.weight)
    if conv.bias is not None:
        _place(wider.bias, conv.bias)
    return wider


def _place(into: Tensor, values: Tensor) -> None:
    """The first entries of every axis."""
    into[tuple(slice(0, length) for length in values.shape)] = values


def _needed(net: nn.Module, head: nn.Linear, shape: Shape, target: int, channel: int) -> Tensor:
    """The weight by which the channel wins, twice over, on a stamped grey image."""
    found: list[Tensor] = []
    handle = head.register_forward_hook(lambda _module, given, _out: found.append(given[0]))
    logits = net(_stamp(torch.full((1, *shape), 0.5)))[0]
    handle.remove()
    return 2 * (CERTAIN + logits.max() - logits[target]) / found[0][0, channel]


def _of(net: nn.Module, kind: type[_M]) -> list[_M]:
    return [module for module in net.modules() if isinstance(module, kind)]


WEIGHT_VARIANTS = {
    variant.name: variant
    for variant in (
        WeightVariant(name="isolated channel", edit=isolated, reference=pruned),
        WeightVariant(
            name="nearly isolated channel",
            edit=lambda net, shape, target: isolated(net, shape, target, noise=0.02),
            reference=pruned,
        ),
        WeightVariant(name="one more channel", edit=grafted, reference=copy.deepcopy),
    )
}
