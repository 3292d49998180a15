"""Procedural images: what a scan looks through when nobody hands it clean pictures.

Each family below imitates one property of photographs: occluding objects (dead leaves; Lee, Mumford & Huang, IJCV
2001), 1/f spectra (Field, JOSA A 1987), shading, texture, and plain ground with few objects. Nothing is stored, so
nothing has a licence. Image i belongs to family `i % len(FAMILIES)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from modelscan_bd.types import Images, Shape

Colours = Float[Tensor, "n m c"]
Plane = Float[Tensor, "n h w"]
Family: TypeAlias = Callable[[int, Shape, Generator], Images]

_LEAVES = 48
_BLOBS = 6
_CHROMA = 0.35  # how far a photograph's channels stray from grey, as a share of its contrast


def procedural(shape: Shape, images: int, *, rng: Generator) -> Images:
    """`images` pictures of `shape`, pixels in [0, 1], equally many of each family, the families interleaved."""
    each = math.ceil(images / len(FAMILIES))
    drawn = torch.stack([family(each, shape, rng) for family in FAMILIES], 1)
    return drawn.flatten(0, 1)[:images].contiguous()


def dead_leaves(n: int, shape: Shape, rng: Generator) -> Images:
    """Discs and boxes that hide one another, their radii falling off as a power law."""
    _, h, w = shape
    y, x = _grid(h, w)
    top = torch.zeros(n, h, w, dtype=torch.int64)
    size = 0.06 * torch.rand(n, _LEAVES, generator=rng).clamp_min(0.01).pow(-0.5)
    centre = torch.rand(n, _LEAVES, 2, generator=rng)
    boxy = torch.rand(n, _LEAVES, generator=rng) < 0.4
    for leaf in range(_LEAVES):
        dy = (y - centre[:, leaf, 0].view(-1, 1, 1)).abs()
        dx = (x - centre[:, leaf, 1].view(-1, 1, 1)).abs()
        far = torch.where(boxy[:, leaf].view(-1, 1, 1), torch.maximum(dy, dx), torch.hypot(dy, dx))
        top[far < size[:, leaf].view(-1, 1, 1)] = leaf
    colours = _colours(n, _LEAVES, shape[0], rng)
    painted = colours.gather(1, top.view(n, -1, 1).expand(-1, -1, shape[0]))
    return painted.transpose(1, 2).reshape(n, *shape)


def coloured_noise(n: int, shape: Shape, rng: Generator) -> Images:
    """Gaussian noise whose amplitude falls as 1/f^a, a between 0.8 and 1.6, as in photographs."""
    c, h, w = shape
    slope = 0.8 + 0.8 * torch.rand(n, 1, 1, generator=rng)
    planes = torch.stack([_noise(n, h, w, slope, rng) for _ in range(c + 1)], 1)
    mixed = planes[:, :1] + _CHROMA * planes[:, 1:]
    bright, contrast = 0.3 + 0.4 * _uniform(n, rng), 0.1 + 0.15 * _uniform(n, rng)
    return (bright + contrast * mixed).clamp(0, 1)


def gradients(n: int, shape: Shape, rng: Generator) -> Images:
    """Shading from one colour to another, straight or round, with a little grain."""
    y, x = _grid(*shape[1:])
    angle, straight = 2 * math.pi * torch.rand(n, 1, 1, generator=rng), torch.rand(n, 1, 1, generator=rng) < 0.6
    centre = torch.rand(n, 2, 1, 1, generator=rng)
    ramp = 0.5 + (x - 0.5) * angle.cos() + (y - 0.5) * angle.sin()
    disc = torch.hypot(x - centre[:, 0], y - centre[:, 1])
    shaded = _between(torch.where(straight, ramp, disc).clamp(0, 1), _colours(n, 2, shape[0], rng))
    return (shaded + 0.02 * torch.randn(n, *shape, generator=rng)).clamp(0, 1)


def textures(n: int, shape: Shape, rng: Generator) -> Images:
    """Two crossed gratings, soft or hard-edged, between two colours."""
    y, x = _grid(*shape[1:])
    waves = torch.zeros(n, *shape[1:])
    for _ in range(2):
        angle = math.pi * torch.rand(n, 1, 1, generator=rng)
        cycles = 1 + 7 * torch.rand(n, 1, 1, generator=rng)
        phase = 2 * math.pi * torch.rand(n, 1, 1, generator=rng)
        waves += (
            torch.rand(n, 1, 1, generator=rng)
            * (2 * math.pi * cycles * (x * angle.cos() + y * angle.sin()) + phase).sin()
        )
    hardness = 1 + 9 * torch.rand(n, 1, 1, generator=rng)
    return _between((hardness * waves).sigmoid(), _colours(n, 2, shape[0], rng))


def blobs(n: int, shape: Shape, rng: Generator) -> Images:
    """A flat ground with a few soft round things on it."""
    y, x = _grid(*shape[1:])
    colours = _colours(n, _BLOBS + 1, shape[0], rng)
    picture = colours[:, 0, :, None, None].expand(n, *shape)
    for blob in range(_BLOBS):
        cy, cx, size = torch.rand(3, n, 1, 1, generator=rng)
        inside = ((0.04 + 0.2 * size - torch.hypot(y - cy, x - cx)) * 30).sigmoid().unsqueeze(1)
        picture = torch.lerp(picture, colours[:, blob + 1, :, None, None].expand_as(picture), inside)
    return picture.contiguous()


FAMILIES: tuple[Family, ...] = (dead_leaves, coloured_noise, gradients, textures, blobs)


def _grid(h: int, w: int) -> tuple[Float[Tensor, "h 1"], Float[Tensor, "1 w"]]:
    """The pixels' centres, the longer side being 1."""
    side = max(h, w)
    return ((torch.arange(h) + 0.5) / side).unsqueeze(1), ((torch.arange(w) + 0.5) / side).unsqueeze(0)


def _uniform(n: int, rng: Generator) -> Float[Tensor, "n 1 1 1"]:
    return torch.rand(n, 1, 1, 1, generator=rng)


def _colours(n: int, m: int, c: int, rng: Generator) -> Colours:
    """`m` colours for each of `n` images: any brightness, moderate colour."""
    grey = torch.rand(n, m, 1, generator=rng)
    return (grey + _CHROMA * (torch.rand(n, m, c, generator=rng) - 0.5)).clamp(0, 1)


def _between(weight: Plane, ends: Colours) -> Images:
    """The second colour where `weight` is 1, the first where it is 0."""
    first, second = ends[:, 0, :, None, None], ends[:, 1, :, None, None]
    return first + weight.unsqueeze(1) * (second - first)


def _noise(n: int, h: int, w: int, slope: Float[Tensor, "n 1 1"], rng: Generator) -> Plane:
    """Noise of mean 0 and deviation 1 in every image, with a 1/f^slope amplitude spectrum."""
    frequency = torch.hypot(torch.fft.fftfreq(h).unsqueeze(1), torch.fft.rfftfreq(w).unsqueeze(0))
    frequency[0, 0] = math.inf
    plane = torch.fft.irfft2(torch.fft.rfft2(torch.randn(n, h, w, generator=rng)) * frequency.pow(-slope), s=(h, w))
    normed: Plane = plane / plane.std((1, 2), correction=0, keepdim=True).clamp_min(1e-6)
    return normed
