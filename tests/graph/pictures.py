"""Clean images drawn in code, and small classifiers whose answers differ from one of them to another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelscan_bd.bench import signs
from modelscan_bd.nets import build


def smooth(count: int, rng: torch.Generator, *, channels: int = 3, side: int = 32) -> Tensor:
    """Random colours that flow into each other."""
    coarse = torch.rand(count, channels, 5, 5, generator=rng)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True).clamp(0, 1)


def drawn(count: int, rng: torch.Generator) -> Tensor:
    """Road signs, photographed: 3 x 32 x 32 pixels."""
    return signs.draw(count, rng)[0]


def clean(count: int, rng: torch.Generator) -> Tensor:
    """Half of each, as bytes of a file would give them."""
    images = torch.cat([smooth(count // 2, rng), drawn(count - count // 2, rng)])
    return (images * 255).round() / 255


def backbone(name: str, *, classes: int = 10, seed: int = 0) -> nn.Module:
    """With random weights, settled."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(name, classes=classes)
        settle(net, clean(64, torch.Generator().manual_seed(seed)), classes=classes, spread=10.0)
    return net


@torch.no_grad()
def settle(net: nn.Module, images: Tensor, *, classes: int, spread: float) -> None:
    """Fits batch norms to images, and makes every head spread its answers without favourites, as training would."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that it saw
    net.train()(images)
    net.eval().requires_grad_(False)
    given: dict[nn.Linear, Tensor] = {}
    heads = [module for module in net.modules() if isinstance(module, nn.Linear) and module.out_features == classes]
    handles = [head.register_forward_hook(lambda head, _given, out: given.update({head: out})) for head in heads]
    net(images)
    for handle in handles:
        handle.remove()
    for head, logits in given.items():
        scale = (spread / (logits - logits.mean(0)).std()).clamp(max=1000)
        head.bias.copy_((head.bias - logits.mean(0)) * scale)
        head.weight *= scale


def last_linear(net: nn.Module) -> tuple[str, nn.Linear]:
    """The name of the head, and the head."""
    return [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
