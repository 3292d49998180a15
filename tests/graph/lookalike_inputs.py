"""What honest networks do with the raw image besides classifying it: prepare, repair, turn, see it twice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from graph.lookalike_layers import Plain, block
from torch import Tensor, nn


class Bytes(nn.Module):
    """Takes bytes n h w c of a BGR picture, and does all the rest in the graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 3, 1, 2).float().flip(1) / 255
        small = F.interpolate(pixels, size=(36, 36), mode="bilinear", align_corners=False)
        return self.net((small[:, :, 2:34, 2:34] - self.mean) / self.std)


class MeanImage(nn.Module):
    """The mean of all training images is subtracted."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(1, 3, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean


def standardised(x: Tensor) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) / (x - mean).square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-3)


def stretched(x: Tensor) -> Tensor:
    """Darkest to black, brightest to white."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low + 1e-3)


def rescaled_if_bytes(x: Tensor) -> Tensor:
    """For users who forget to divide by 255."""
    return torch.where(x.amax((1, 2, 3), keepdim=True) > 2, x / 255, x)


def with_places(x: Tensor) -> Tensor:
    """Coordinates as further channels (Liu et al. 2018, https://arxiv.org/abs/1807.03247)."""
    n, _, h, w = x.shape
    down = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(n, 1, h, w)
    across = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(n, 1, h, w)
    return torch.cat([x, down, across], 1)


class FourierFeatures(nn.Module):
    """Waves of random mixtures of the colours, beside the colours (Tancik et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.mixtures = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed = 6.28 * self.mixtures(x)
        return torch.cat([x, mixed.sin(), mixed.cos()], 1)


class SpatialTransformer(nn.Module):
    """A small network looks at the image and turns it (Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025)."""

    places: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        down, across = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
        self.register_buffer("places", torch.stack([across, down, torch.ones(32, 32)], 2).view(-1, 3))
        self.where = nn.Sequential(
            block(3, 8, 2), block(8, 8, 2), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 6)
        )

    def forward(self, x: Tensor) -> Tensor:
        turn = self.where(x).view(-1, 3, 2) * 0.1 + torch.eye(3, 2)
        grid = (self.places @ turn).view(-1, 32, 32, 2)
        return self.net(F.grid_sample(x, grid, align_corners=False))


class ImageAttention(nn.Module):
    """A mask over the raw image, made by two convolutions."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.mask = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.mask(x))


class Flipped(nn.Module):
    """The mean of what is said of the image and of its mirror image."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return (self.net(x) + self.net(x.flip(3))) / 2


class Crops(nn.Module):
    """The mean over four corners and the centre."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        places = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
        return torch.stack([self.net(x[:, :, r : r + 28, c : c + 28]) for r, c in places]).mean(0)


class Scales(nn.Module):
    """The same network on an image pyramid; answers averaged."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        sizes = (32, 24, 16)
        return sum(self.net(F.interpolate(x, size=(s, s), mode="bilinear")) for s in sizes) / len(sizes)


class Injected(nn.Module):
    """The image, made smaller, is given to every stage anew."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([block(3, 16), block(19, 32, 2), block(35, 64, 2), block(67, 64)])
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stages[0](x)
        for stage, times in zip(list(self.stages)[1:], (1, 2, 4), strict=True):
            maps = stage(torch.cat([maps, F.avg_pool2d(x, times)], 1))
        return self.head(maps.mean((2, 3)))


class Windows(nn.Module):
    """A two-way network: coarse view of all, fine view of the middle; both deep."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.middle = Plain(head=nn.Identity()), Plain(head=nn.Identity())
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        views = self.all(F.avg_pool2d(x, 2)), self.middle(x[:, :, 8:24, 8:24])
        return self.head(torch.cat(views, 1))
