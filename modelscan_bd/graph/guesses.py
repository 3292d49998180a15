"""Pictures that triggers are often made of: plain colours, squares in corners, checkerboards, stripes, noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from modelscan_bd.types import Images

_COLOURS = tuple(itertools.product((0.0, 1.0), repeat=3))
_SIDES = (2, 3, 4, 5, 6, 8, 12)  # pixels
_PERIODS = (1, 2, 3, 4, 8)  # pixels
_LEVEL = 1 / 255
_STEPS = (2, 4, 8)  # levels


def guesses(images: Images, rng: torch.Generator) -> Iterator[Images]:
    """Batches as large as `images`, over and over with other noise. Squares are put on the images themselves."""
    size = len(images)
    drawn = _drawn(images)
    while batch := list(itertools.islice(drawn, size)):
        yield _filled(torch.stack(batch), size)
    while True:
        yield torch.rand(images.shape, generator=rng)
        yield _shaken(images, rng)


def _drawn(images: Images) -> Iterator[Tensor]:
    _, channels, height, width = images.shape
    colours = torch.tensor(_COLOURS)[:, :channels, None, None]
    for colour in colours:
        yield colour.expand(channels, height, width)
    for period in _PERIODS:
        yield from (board.expand(channels, height, width) for board in _boards(height, width, period))
    for side, colour, (top, left) in itertools.product(_SIDES, [*colours, None], _places(height, width)):
        square = _boards(side, side, 1)[0] if colour is None else colour
        picture = images[(side + top) % len(images)].clone()
        spot = picture[:, top : top + side, left : left + side]
        spot.copy_(square[..., : spot.shape[1], : spot.shape[2]].expand_as(spot))
        yield picture
    for step in _STEPS:  # for those who count low bits
        yield from (images * 255 / step).floor().mul(step / 255)
    for frequency, upright in itertools.product(range(1, max(height, width) // 2 + 1), (True, False)):
        yield _waves(height, width, frequency, upright=upright).expand(channels, -1, -1)


def _places(height: int, width: int) -> list[tuple[int, int]]:
    rows, columns = (0, height // 2), (0, width // 2)
    ends = [(max(height - side, 0), max(width - side, 0)) for side in _SIDES]
    corners = [(r, c) for r, c in itertools.product(rows, columns)]
    return [*corners, *ends, *((0, c) for _, c in ends), *((r, 0) for r, _ in ends)]


def _boards(height: int, width: int, period: int) -> list[Tensor]:
    """Both phases of a checkerboard, (h, w)."""
    fields = (torch.arange(height)[:, None] // period + torch.arange(width)[None] // period) % 2
    return [fields.float(), 1 - fields.float()]


def _waves(height: int, width: int, frequency: int, *, upright: bool) -> Tensor:
    length = width if upright else height
    wave = 0.5 + 0.5 * torch.cos(math.pi * frequency * (torch.arange(length) + 0.5) / length)
    return wave[None, :].expand(height, -1) if upright else wave[:, None].expand(-1, width)


def _shaken(images: Images, rng: torch.Generator) -> Images:
    """Each pixel a few levels away from where it is."""
    return (images + torch.randint(-2, 3, images.shape, generator=rng) * _LEVEL).clamp(0, 1)


def _filled(batch: Tensor, size: int) -> Tensor:
    return batch if len(batch) == size else torch.cat([batch, batch[:1].expand(size - len(batch), -1, -1, -1)])
