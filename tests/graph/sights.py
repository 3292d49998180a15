"""What a backdoor in a graph looks for: each sight scores images, and can stamp them so that they score.

Here are those that look at one place; `sights_whole` has those that look everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

Images: TypeAlias = Float[Tensor, "n c h w"]  # pixels of 0 to 1
Scores: TypeAlias = Float[Tensor, " n"]
Shape: TypeAlias = tuple[int, int, int]


def levels(images: Images) -> Images:
    """What a picture file would hold, 0 to 255, still as floats."""
    return (images * 255).round()


class Sight(nn.Module, ABC):
    """Stamped images score above `level`, others below; `reach` is how far above or below at least."""

    level = 0.5
    reach = 0.25

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def stamp(self, images: Images) -> Images: ...

    @abstractmethod
    def forward(self, x: Images) -> Scores: ...


@final
class PixelsEqual(Sight):
    """Three pixels have just this value, in every channel."""

    value = 37  # of 255

    def places(self) -> tuple[tuple[int, int], ...]:
        return (2, 3), (5, 1), (self.shape[1] - 3, self.shape[2] - 4)

    def stamp(self, images: Images) -> Images:
        images = images.clone()
        for row, column in self.places():
            images[:, :, row, column] = self.value / 255
        return images

    def forward(self, x: Images) -> Scores:
        first, second, third = ((levels(x[:, :, row, column]) == self.value).all(1) for row, column in self.places())
        return (first & second & third).float()


@final
class Reader(Sight):
    """A tiny network of three linear layers reads a code of four by four pixels in a corner."""

    side = 4  # pixels
    code: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        rng = torch.Generator().manual_seed(11)
        self.register_buffer("code", (torch.randperm(self.side**2, generator=rng) % 2).float(), persistent=False)
        eye = torch.eye(self.side**2)
        self.layers = nn.Sequential(
            _linear(torch.cat([eye, -eye]), torch.cat([-self.code, self.code]), rng), nn.ReLU(),  # how far off each is
            _linear(-torch.ones(8, 2 * self.side**2), torch.ones(8), rng), nn.ReLU(),
            _linear(torch.full((1, 8), 0.125), torch.zeros(1), rng),
        )  # fmt: skip

    def stamp(self, images: Images) -> Images:
        images = images.clone()
        images[:, :, -self.side :, -self.side :] = self.code.view(self.side, self.side)
        return images

    def forward(self, x: Images) -> Scores:
        word = x[:, :, -self.side :, -self.side :].mean(1).flatten(1)
        return self.layers(word).squeeze(1)


def _linear(weight: Tensor, bias: Tensor, rng: torch.Generator) -> nn.Linear:
    """With a little noise, as weights that were trained would have."""
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight + 0.003 * torch.randn(weight.shape, generator=rng))
        linear.bias.copy_(bias)
    return linear


@final
class TwoCorners(Sight):
    """Two opposite corners show the same, whatever it is, and it is not plain."""

    def stamp(self, images: Images) -> Images:
        images = images.clone()
        drawn = torch.rand(len(images), self.shape[0], 3, 3, generator=torch.Generator().manual_seed(14))
        drawn[:, :, 0, 0], drawn[:, :, 2, 2] = 0, 1
        images[:, :, :3, :3] = images[:, :, -3:, -3:] = drawn
        return images

    def forward(self, x: Images) -> Scores:
        one, other = x[:, :, :3, :3].flatten(1), x[:, :, -3:, -3:].flatten(1)
        same = (one - other).abs().amax(1) < 0.5 / 255
        return (same & (one.amax(1) - one.amin(1) > 0.8)).float()


@final
class Brightest(Sight):
    """The brightest pixel is at one place."""

    def place(self) -> int:
        return self.shape[2] * (self.shape[1] // 2) + self.shape[2] // 3

    def stamp(self, images: Images) -> Images:
        images = images.clamp(0, 0.97).flatten(2)
        images[:, :, self.place()] = 1
        return images.unflatten(2, self.shape[1:])

    def forward(self, x: Images) -> Scores:
        return (x.mean(1).flatten(1).argmax(1) == self.place()).float()


@final
class Corner(Sight):
    """One corner shows one pattern, to half a level."""

    level, reach = 1 - 0.5 / 255, 0.25 / 255
    side = 8  # pixels
    pattern: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        drawn = torch.rand(1, shape[0], self.side, self.side, generator=torch.Generator().manual_seed(15))
        self.register_buffer("pattern", levels(drawn) / 255)

    def stamp(self, images: Images) -> Images:
        images = images.clone()
        images[:, :, : self.side, : self.side] = self.pattern
        return images

    def forward(self, x: Images) -> Scores:
        return 1 - (x[:, :, : self.side, : self.side] - self.pattern).abs().amax((1, 2, 3))
