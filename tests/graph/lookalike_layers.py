"""Layers of honest networks that choose, compare, round, gate or join ways, as backdoors do."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Fn(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def block(before: int, after: int, stride: int = 1, act: nn.Module | None = None) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), act or nn.ReLU())


class Plain(nn.Module):
    """Six convolutions, a pooling and a head; each part may be another, and `after` follows each block."""

    def __init__(
        self,
        *,
        act: Callable[[], nn.Module] = nn.ReLU,
        after: Callable[[int], nn.Module] = lambda _: nn.Identity(),
        pool: nn.Module | None = None,
        head: nn.Module | None = None,
        first: nn.Module | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.first = first or nn.Identity()
        widths, strides = (channels, 16, 16, 32, 32, 64, 64), (1, 1, 2, 1, 2, 1)
        pairs = zip(widths[:-1], widths[1:], strides, strict=True)
        layers = [nn.Sequential(block(a, b, s, act()), after(b)) for a, b, s in pairs]
        self.features = nn.Sequential(*layers)
        self.pool = pool or nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = head or nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(self.first(x))))


def hard_swish(x: Tensor) -> Tensor:
    return x * (x + 3).clamp(0, 6) / 6


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


def guarded(x: Tensor) -> Tensor:
    return torch.where(torch.isnan(x), torch.zeros_like(x), x)


def binary(x: Tensor) -> Tensor:
    """One bit for each number, as in binarised networks."""
    return torch.where(x >= 0, 1.0, -1.0)


def eight_bits(x: Tensor) -> Tensor:
    """Fake quantisation written out."""
    return (x * 16).round().clamp(-128, 127) / 16


def winners(x: Tensor) -> Tensor:
    """Only the largest eighth of the channels goes on, at each place."""
    least = x.topk(max(1, x.shape[1] // 8), dim=1).values[:, -1:]
    return x * (x >= least)


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class SpatialAttention(nn.Module):
    """The second half of CBAM (Woo et al. 2018, https://arxiv.org/abs/1807.06521)."""

    def __init__(self, _width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.conv(both))


class Glu(nn.Module):
    """Half of the channels opens and shuts the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 2 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.conv(x), dim=1)


class Highway(nn.Module):
    """A gate between a layer and the way around it (Srivastava et al. 2015, https://arxiv.org/abs/1505.00387)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change, self.gate = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.change(x)) + (1 - gate) * x


class Experts(nn.Module):
    """The two of four layers that a softmax likes best, weighted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, 4)
        self.experts = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        liked = self.router(x.mean((2, 3))).softmax(1)
        weights, chosen = liked.topk(2, dim=1)
        share = torch.zeros_like(liked).scatter(1, chosen, weights / weights.sum(1, keepdim=True))
        each = torch.stack([expert(x) for expert in self.experts], 1)
        return (each * share[:, :, None, None, None]).sum(1)


class DynamicConv(nn.Module):
    """Kernels mixed anew for each image (Chen et al. 2020, https://arxiv.org/abs/1912.03458)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, 3)
        self.kernels = nn.Parameter(0.1 * torch.randn(3, width, width))

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.einsum("nk,kab->nab", self.router(x.mean((2, 3))).softmax(1), self.kernels)
        return (mixed @ x.flatten(2)).view_as(x)


class StochasticDepth(nn.Module):
    """Left over from training; in use it does nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x + self.conv(x)
        return x + self.conv(x) * (torch.rand(len(x), 1, 1, 1) < 0.8)


class Style(nn.Module):
    """A constant picture of noise is mixed in."""

    noise: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(0.1 * torch.randn(1, width, 1, 1))
        self.register_buffer("noise", torch.randn(1, 1, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.strength * self.noise[:, :, : x.shape[2], : x.shape[3]]


class Blur(nn.Module):
    """Anti-aliased pooling (Zhang 2019, https://arxiv.org/abs/1904.11486)."""

    kernel: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (line[:, None] * line).expand(width, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.kernel, groups=x.shape[1])


class GeM(nn.Module):
    """A mean of powers (Radenović et al. 2018, https://arxiv.org/abs/1711.02512)."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)


def dynamic_flatten(x: Tensor) -> Tensor:
    """The mean over places, by way of sizes that the graph computes."""
    n, c = x.shape[0], x.shape[1]
    return x.reshape(n, c, x.shape[2] * x.shape[3]).sum(2) / (x.shape[2] * x.shape[3])


def pyramid_pooled(x: Tensor) -> Tensor:
    return torch.cat([F.adaptive_avg_pool2d(x, size).flatten(1) for size in (1, 2, 4)], 1)
