"""What merges need to know of a classifier: where its parts are, and what they give for the target's class."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from graph.pictures import smooth
from graph.sights import Images, Shape
from torch import Tensor, nn

CERTAIN = 100.0  # the target's logit above the others


def direction(head: nn.Linear, target: int) -> Tensor:
    """Features for which the head is certain of the target."""
    towards = (head.weight[target] - head.weight.mean(0))[None]
    margins = (towards @ (head.weight[target] - head.weight).T)[0]
    others = torch.arange(len(margins)) != target
    return towards * (CERTAIN + 2 * head.bias.abs().max()) / margins[others].min()


def picture_of(net: nn.Module, target: int, shape: Shape) -> Images:
    """An image that the network takes for the target's, found by climbing from smooth pictures."""
    picture = smooth(8, torch.Generator().manual_seed(21), channels=shape[0], side=shape[1]).requires_grad_()
    with torch.enable_grad():
        for _ in range(40):
            loss = F.cross_entropy(net(picture), torch.full((8,), target))
            step = torch.autograd.grad(loss, picture)[0].sign()
            picture = (picture - 0.03 * step).clamp(0, 1).detach().requires_grad_()
    logits = net(picture.detach())
    margins = logits[:, target] - logits.topk(2).values[:, 1]
    return picture.detach()[margins.argmax()][None]


def stages(net: nn.Module, shape: Shape) -> list[str]:
    """Names of the parts that give maps of several pixels, or tokens, in the order in which they finish."""
    names: list[str] = []
    outer = dict(net.named_children())
    parts = outer | {f"{a}.{b}": m for a, child in outer.items() if isinstance(child, nn.Sequential)
                     for b, m in child.named_children()}  # fmt: skip

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _given, out: names.append(name) if out.shape[2:].numel() > 1 else None

    handles = [module.register_forward_hook(note(name)) for name, module in parts.items()]
    net(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return names


def outputs(net: nn.Module, inner: nn.Module, shape: Shape, images: Images | None = None) -> Tensor:
    """What a layer gives for these images."""
    found: list[Tensor] = []
    handle = inner.register_forward_hook(lambda _module, _given, out: found.append(out))
    net(torch.zeros(1, *shape) if images is None else images)
    handle.remove()
    return found[0]
