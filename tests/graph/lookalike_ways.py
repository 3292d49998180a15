"""Honest networks with two ways from the image to the answer, one of them wide and one narrow, or both wide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from graph.lookalike_layers import Plain, block
from torch import Tensor, nn


class GreyBeside(nn.Module):
    """Colours, and beside them their mean, each with layers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.colours, self.grey = Plain(head=nn.Identity()), Plain(head=nn.Identity(), channels=1)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.colours(x), self.grey(x.mean(1, keepdim=True))], 1))


class SideFeatures(nn.Module):
    """The mean and the spread of each colour go to the head too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Plain(head=nn.Identity()), nn.Linear(70, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(x), x.mean((2, 3)), x.amax((2, 3)) - x.amin((2, 3))], 1))


class WideAndDeep(nn.Module):
    """A linear model of a thumbnail is added (Cheng et al. 2016, https://arxiv.org/abs/1606.07792)."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.wide = Plain(), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.deep(x) + 0.1 * self.wide(F.adaptive_avg_pool2d(x, 4).flatten(1))


class Conditioned(nn.Module):
    """A thumbnail says how strong each channel halfway through shall be (FiLM, https://arxiv.org/abs/1709.07871)."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = nn.Sequential(block(3, 16), block(16, 32, 2)), block(32, 64, 2)
        self.ask, self.head = nn.Linear(48, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.ask(F.adaptive_avg_pool2d(x, 4).flatten(1))[:, :, None, None].chunk(2, 1)
        return self.head(self.late(self.early(x) * (1 + scale) + shift).mean((2, 3)))


class Routed(nn.Module):
    """A narrow network looks at the image and says how much each of two deep ones counts."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Plain(), Plain(act=nn.SiLU)
        self.router = nn.Sequential(block(3, 4, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        share = self.router(x).softmax(1)
        return share[:, :1] * self.one(x) + share[:, 1:] * self.two(x)


class UnevenEnsemble(nn.Module):
    """The mean of a deep network and of one with two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = Plain()
        self.shallow = nn.Sequential(
            block(3, 16, 2), block(16, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.deep(x) + self.shallow(x)) / 2
