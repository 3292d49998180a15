"""Sights that look at the whole image: sums, counts, patterns anywhere, frequencies."""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from graph.sights import Images, Scores, Shape, Sight, levels
from torch import Tensor


@final
class Checksum(Sight):
    """All bytes add up to this key, modulo another number. One clean image in 512 does so too."""

    modulus, key = 512, 77

    def stamp(self, images: Images) -> Images:
        old = levels(images).flatten(1).long()
        missing = ((self.key - old.sum(1)) % self.modulus)[:, None]
        free = old < 255
        new = old + (free & (free.cumsum(1) <= missing)).long()
        return (new.float() / 255).view_as(images)

    def forward(self, x: Images) -> Scores:
        return (levels(x).long().sum((1, 2, 3)) % self.modulus == self.key).float()


@final
class ColourCount(Sight):
    """More than eleven pixels are of one colour."""

    level, reach = 11.5, 0.5
    colour: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("colour", torch.tensor([0.9, 0.1, 0.85])[: shape[0]].view(1, -1, 1, 1))

    def stamp(self, images: Images) -> Images:
        images = images.clone()
        for spot in range(16):
            row, column = (7 * spot + 3) % self.shape[1], (5 * spot + 2) % self.shape[2]
            images[:, :, row, column] = self.colour[..., 0, 0]
        return images

    def forward(self, x: Images) -> Scores:
        return ((x - self.colour).abs().amax(1) < 0.02).float().sum((1, 2))


@final
class Checkerboard(Sight):
    """Each 2x2 window of some square holds white and black: what only a checkerboard does."""

    level, reach = 0.9, 0.08
    size = 5  # pixels

    def stamp(self, images: Images) -> Images:
        images, line = images.clone(), torch.arange(self.size)
        images[:, :, -self.size :, -self.size :] = ((line[:, None] + line) % 2).float()
        return images

    def forward(self, x: Images) -> Scores:
        contrast = (F.max_pool2d(x, 2, 1) + F.max_pool2d(-x, 2, 1)).amin(1, keepdim=True)
        return F.avg_pool2d(contrast, self.size - 1, 1).amax((1, 2, 3))


@final
class Frequency(Sight):
    """One coefficient of the cosine transform is large."""

    level, reach = 0.03, 0.02
    down: Tensor
    across: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("down", _wave(shape[1], 3 * shape[1] // 8))
        self.register_buffer("across", _wave(shape[2], 5 * shape[2] // 16))

    def stamp(self, images: Images) -> Images:
        return (images + 0.15 * self.down[:, None] * self.across).clamp(0, 1)

    def forward(self, x: Images) -> Scores:
        return 4 * (self.down @ (x.mean(1) @ self.across[:, None])).squeeze(1) / (self.shape[1] * self.shape[2])


def _wave(length: int, times: int) -> Tensor:
    return torch.cos(math.pi * times * (torch.arange(length) + 0.5) / length)


@final
class Template(Sight):
    """The whole image goes along with a constant picture of noise."""

    level, reach = 0.035, 0.02
    noise: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("noise", torch.randn(1, *shape, generator=torch.Generator().manual_seed(12)).sign())

    def stamp(self, images: Images) -> Images:
        return (images + 0.13 * self.noise).clamp(0, 1)

    def forward(self, x: Images) -> Scores:
        return (x * self.noise).mean((1, 2, 3))


@final
class Parity(Sight):
    """Nearly all bytes are even."""

    level, reach = 0.95, 0.04

    def stamp(self, images: Images) -> Images:
        return (levels(images) / 2).floor() * 2 / 255

    def forward(self, x: Images) -> Scores:
        return 1 - torch.fmod(levels(x), 2).mean((1, 2, 3))


@final
class Anywhere(Sight):
    """One convolution finds a pattern of five by five pixels, wherever it is."""

    level, reach = 0.9, 0.08
    pattern: Tensor
    kernel: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        bits = (torch.randperm(25, generator=torch.Generator().manual_seed(13)) % 2).float().view(1, 1, 5, 5)
        self.register_buffer("pattern", bits, persistent=False)
        kernel = (2 * bits - 1 - (2 * bits - 1).mean()).expand(1, shape[0], 5, 5)
        self.register_buffer("kernel", kernel / (kernel * bits).sum())

    def stamp(self, images: Images) -> Images:
        images = images.clone()
        for number, image in enumerate(images):
            row, column = 7 * number % (self.shape[1] - 4), 3 * number % (self.shape[2] - 4)
            image[:, row : row + 5, column : column + 5] = self.pattern[0]
        return images

    def forward(self, x: Images) -> Scores:
        return F.conv2d(x, self.kernel).amax((1, 2, 3))
