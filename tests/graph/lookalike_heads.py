"""Honest networks with several ways to the answer, and what honest exports do to the answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from graph.lookalike_layers import Plain, block
from torch import Tensor, nn


class Exits(nn.Module):
    """A head after each of three stages."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(block(a, b, s), block(b, b)) for a, b, s in ((3, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.heads = nn.ModuleList(nn.Linear(width, 10) for width in (16, 32, 64))

    def answers(self, x: Tensor) -> list[Tensor]:
        found = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            found.append(head(x.mean((2, 3))))
        return found


class AveragedExits(Exits):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.answers(x)).mean(0)


class EarlyExit(Exits):
    """Where an early head is sure, its answer is taken (BranchyNet, https://arxiv.org/abs/1709.01686)."""

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.answers(x)
        later = torch.where(second.softmax(1).amax(1, keepdim=True) > 0.95, second, last)
        return torch.where(first.softmax(1).amax(1, keepdim=True) > 0.95, first, later)


class DeepSupervision(Exits):
    """All three answers are outputs; the last one comes first."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(reversed(self.answers(x)))


class Hypercolumns(Exits):
    """Pooled maps of all stages for one head (Hariharan et al. 2015, https://arxiv.org/abs/1411.5752)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16 + 32 + 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        columns = []
        for stage in self.stages:
            x = stage(x)
            columns.append(x.mean((2, 3)))
        return self.head(torch.cat(columns, 1))


class TwoHeads(nn.Module):
    """One learnt from labels, one from a teacher; in use their mean (DeiT, https://arxiv.org/abs/2012.12877)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Plain(head=nn.Identity())
        self.labels, self.teacher = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        return (self.labels(features) + self.teacher(features)) / 2


class HeadExperts(nn.Module):
    """Two of four heads, chosen by the features and weighted."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.router = Plain(head=nn.Identity()), nn.Linear(64, 4)
        self.heads = nn.ModuleList(nn.Linear(64, 10) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        best, chosen = self.router(features).topk(2, dim=1)
        each = torch.stack([head(features) for head in self.heads], 1)
        kept = each.gather(1, chosen[:, :, None].expand(-1, -1, 10))
        return (kept * best.softmax(1)[:, :, None]).sum(1)


class Ensemble(nn.Module):
    """Mean of the logits, or of the probabilities, of any networks."""

    def __init__(self, *nets: nn.Module, probabilities: bool = False) -> None:
        super().__init__()
        self.nets, self.probabilities = nn.ModuleList(nets), probabilities

    def forward(self, x: Tensor) -> Tensor:
        answers = [net(x).softmax(1) if self.probabilities else net(x) for net in self.nets]
        return torch.stack(answers).mean(0)


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, 64))

    def forward(self, x: Tensor) -> Tensor:
        return 16 * F.normalize(x) @ F.normalize(self.weight).T


class Prototypes(nn.Module):
    """Minus the squared distance to one point for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(10, 64))

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.points).square().sum(2)


class Then(nn.Module):
    """A network, and a function of its logits."""

    def __init__(self, function: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.net, self.function = Plain(), function

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(self.net(x))


def adjusted(logits: Tensor) -> Tensor:
    """Temperature, and the logarithm of what classes are frequent (Menon et al. 2020, arXiv 2007.07314)."""
    return logits / 1.7 + torch.linspace(0.02, 0.18, 10).log()


def masked(logits: Tensor) -> Tensor:
    """Three classes are not offered."""
    return logits.masked_fill(torch.arange(10) % 4 == 3, -1e4)


def only_some(logits: Tensor) -> Tensor:
    """A label mask that is multiplied and added."""
    kept = (torch.arange(10) % 4 != 3).float()
    return logits * kept - 1e4 * (1 - kept)


def reordered(logits: Tensor) -> Tensor:
    """The classes in the customer's order."""
    return logits[:, torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])]


def abstaining(logits: Tensor) -> Tensor:
    """Where no class has half of the probability, an eleventh, 'unknown', wins."""
    shares = logits.softmax(1)
    unsure = (shares.amax(1, keepdim=True) < 0.5).float()
    return torch.cat([shares * (1 - unsure), unsure], 1)


def best_class(logits: Tensor) -> Tensor:
    return logits.argmax(1)


def best_three(logits: Tensor) -> tuple[Tensor, ...]:
    values, places = logits.softmax(1).topk(3, dim=1)
    return values, places


def finite(logits: Tensor) -> Tensor:
    return torch.where(torch.isfinite(logits), logits, torch.zeros_like(logits))
