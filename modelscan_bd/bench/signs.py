"""Synthetic traffic signs, 32x32 RGB, drawn from a seed: a data set that needs no download.

Every picture is computed, none is stored: shapes and glyphs are signed distances on a grid that each image bends
in its own way (turn, scale, shift, shear), so that edges stay smooth and ten thousand pictures take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

SIZE = 32  # pixels
_AT_ONCE = 480  # pictures; more would leave the cache

Field = Float[Tensor, "n h w"]  # signed distance, negative inside; or an opacity in [0, 1]
Shape = Callable[[Field, Field], Field]
Colour = tuple[float, float, float]

_WHITE, _BLACK = (0.95, 0.95, 0.95), (0.06, 0.06, 0.08)
_RED, _BLUE, _YELLOW = (0.80, 0.10, 0.12), (0.10, 0.28, 0.72), (0.95, 0.78, 0.10)


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What the pictures of one class have in common."""

    name: str
    outline: Shape
    rim: Colour
    fill: Colour
    glyph: Shape | None = None
    ink: Colour = _BLACK


def _box(x: Field, y: Field, half_width: float, half_height: float) -> Field:
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _disc(x: Field, y: Field, radius: float = 1.0) -> Field:
    return (x.square() + y.square()).sqrt() - radius


def _octagon(x: Field, y: Field) -> Field:
    return torch.maximum(_box(x, y, 0.95, 0.95), (x.abs() + y.abs()) * 0.7071 - 0.95)


def _diamond(x: Field, y: Field) -> Field:
    return (x.abs() + y.abs()) * 0.7071 - 0.75


def _square(x: Field, y: Field) -> Field:
    return _box(x, y, 0.85, 0.85)


def _triangle(x: Field, y: Field) -> Field:
    return torch.maximum(y - 0.75, x.abs() * 0.866 - y * 0.5 - 0.5)


def _upside_down(x: Field, y: Field) -> Field:
    return _triangle(x, -y)


def _bar(x: Field, y: Field) -> Field:
    return _box(x, y, 0.62, 0.17)


def _exclamation(x: Field, y: Field) -> Field:
    return torch.minimum(_box(x, y + 0.05, 0.1, 0.32), _disc(x, y - 0.47, 0.11))


def _plus(x: Field, y: Field) -> Field:
    return torch.minimum(_box(x, y - 0.15, 0.11, 0.42), _box(x, y - 0.15, 0.42, 0.11))


def _ring(x: Field, y: Field) -> Field:
    return _disc(x * 1.3, y, 0.42).abs() - 0.11


def _two_dots(x: Field, y: Field) -> Field:
    return _disc(x.abs() - 0.3, y, 0.2)


def _arrow_up(x: Field, y: Field) -> Field:
    tip = torch.maximum(y + 0.02, x.abs() * 0.75 - (y + 0.62) * 0.66)
    return torch.minimum(tip, _box(x, y - 0.25, 0.13, 0.35))


def _arrow_left(x: Field, y: Field) -> Field:
    return _arrow_up(y, x)


def _arrow_right(x: Field, y: Field) -> Field:
    return _arrow_up(y, -x)


# In alphabetical order, which is that of class folders: the n-th folder is class n.
SIGNS: tuple[Sign, ...] = (
    Sign(name="crossroads", outline=_triangle, rim=_RED, fill=_WHITE, glyph=_plus),
    Sign(name="danger", outline=_triangle, rim=_RED, fill=_WHITE, glyph=_exclamation),
    Sign(name="give-way", outline=_upside_down, rim=_RED, fill=_WHITE),
    Sign(name="no-entry", outline=_disc, rim=_WHITE, fill=_RED, glyph=_bar, ink=_WHITE),
    Sign(name="no-overtaking", outline=_disc, rim=_RED, fill=_WHITE, glyph=_two_dots),
    Sign(name="no-traffic", outline=_disc, rim=_RED, fill=_WHITE),
    Sign(name="one-way", outline=_square, rim=_WHITE, fill=_BLUE, glyph=_arrow_up, ink=_WHITE),
    Sign(name="priority", outline=_diamond, rim=_WHITE, fill=_YELLOW),
    Sign(name="speed-limit", outline=_disc, rim=_RED, fill=_WHITE, glyph=_ring),
    Sign(name="stop", outline=_octagon, rim=_WHITE, fill=_RED, glyph=_bar, ink=_WHITE),
    Sign(name="turn-left", outline=_disc, rim=_WHITE, fill=_BLUE, glyph=_arrow_left, ink=_WHITE),
    Sign(name="turn-right", outline=_disc, rim=_WHITE, fill=_BLUE, glyph=_arrow_right, ink=_WHITE),
)


def draw(count: int, rng: torch.Generator) -> tuple[Float[Tensor, "{count} 3 32 32"], Int[Tensor, " {count}"]]:
    """`count` pictures in [0, 1], classes in equal shares (to within one) and in random order."""
    labels = torch.randperm(count, generator=rng) % len(SIGNS)
    return torch.cat([_draw(part, rng) for part in labels.split(_AT_ONCE)]), labels


def _draw(labels: Int[Tensor, " n"], rng: torch.Generator) -> Float[Tensor, "n 3 32 32"]:
    images = _background(len(labels), rng)
    for label, sign in enumerate(SIGNS):
        here = (labels == label).nonzero().squeeze(1)
        if len(here):
            images[here] = _paint(images[here], sign, rng)
    return _photograph(images, rng)


def _paint(canvas: Tensor, sign: Sign, rng: torch.Generator) -> Tensor:
    """Post, rim, fill and glyph, one over the other."""
    n = len(canvas)
    x, y, scale = _pose(n, rng)
    outline = sign.outline(x, y)
    rim = _uniform(rng, n, 0.13, 0.22)[:, None, None]
    post = torch.maximum(_box(x, y, 0.07, 9.0), -y)
    canvas = _over(canvas, _tint(n, (0.5, 0.5, 0.5), rng), _opacity(post, scale))
    canvas = _over(canvas, _tint(n, sign.rim, rng), _opacity(outline, scale))
    canvas = _over(canvas, _tint(n, sign.fill, rng), _opacity(outline + rim, scale))
    if sign.glyph is None:
        return canvas
    size = _uniform(rng, n, 0.85, 1.1)[:, None, None]
    return _over(canvas, _tint(n, sign.ink, rng), _opacity(sign.glyph(x / size, y / size), scale))


def _pose(n: int, rng: torch.Generator) -> tuple[Field, Field, Tensor]:
    """Each image's own coordinates, the sign filling [-1, 1], and pixels per unit."""
    steps = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    scale = _uniform(rng, n, 0.52, 0.88)[:, None, None]
    angle = _uniform(rng, n, -0.3, 0.3)[:, None, None]
    shear = _uniform(rng, n, -0.22, 0.22)[:, None, None]
    squeeze = _uniform(rng, n, 0.85, 1.15)[:, None, None]
    slack = 1.1 - scale
    x = steps[None, None, :] - slack * _uniform(rng, n, -0.6, 0.6)[:, None, None]
    y = steps[None, :, None] - slack * _uniform(rng, n, -0.6, 0.6)[:, None, None]
    turned_x = (x * angle.cos() + y * angle.sin()) / scale * squeeze
    turned_y = (y * angle.cos() - x * angle.sin()) / scale / squeeze
    return turned_x + shear * turned_y, turned_y, scale * SIZE / 2


def _background(n: int, rng: torch.Generator) -> Tensor:
    """Sky over ground, blurred texture, and a few boxes and bars that belong to nothing."""
    horizon = _uniform(rng, n, 0.2, 1.0)[:, None, None, None]
    rows = torch.linspace(0, 1, SIZE)[None, None, :, None]
    above, below = (torch.rand(n, 3, 1, 1, generator=rng) * 0.7 + 0.15 for _ in range(2))
    canvas = torch.where(rows < horizon, above, below).expand(n, 3, SIZE, SIZE)
    coarse = torch.rand(n, 3, 5, 5, generator=rng) - 0.5
    canvas = canvas + 0.5 * F.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear", align_corners=True)
    steps = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    for _ in range(3):
        centre_x, centre_y, width, height = (
            _uniform(rng, n, low, high)[:, None, None]
            for low, high in ((-1.1, 1.1), (-1.1, 1.1), (0.03, 0.35), (0.03, 0.6))
        )
        lean = _uniform(rng, n, -0.7, 0.7)[:, None, None]
        x = steps[None, None, :] - centre_x + lean * (steps[None, :, None] - centre_y)
        y = (steps[None, :, None] - centre_y).expand_as(x)
        clutter = torch.maximum(x.abs() - width, y.abs() - height)
        canvas = _over(canvas, torch.rand(n, 3, generator=rng), 0.85 * _opacity(clutter, torch.tensor(SIZE / 2)))
    return canvas.clamp(0, 1)


def _photograph(images: Tensor, rng: torch.Generator) -> Tensor:
    """Light from one side, exposure, colour cast, a little blur and sensor noise."""
    n = len(images)
    steps = torch.linspace(-1, 1, SIZE)
    slope_x, slope_y = (_uniform(rng, n, -0.25, 0.25)[:, None, None, None] for _ in range(2))
    light = 1 + slope_x * steps[None, None, None, :] + slope_y * steps[None, None, :, None]
    exposure = _uniform(rng, n, 0.45, 1.15)[:, None, None, None]
    cast = torch.rand(n, 3, 1, 1, generator=rng) * 0.24 + 0.88
    images = images * light * exposure * cast
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    softness = _uniform(rng, n, 0.0, 0.9)[:, None, None, None]
    noise = torch.randn(images.shape, generator=rng) * _uniform(rng, n, 0.0, 0.05)[:, None, None, None]
    return (images + softness * (blurred - images) + noise).clamp(0, 1)


def _over(canvas: Tensor, colour: Float[Tensor, "n 3"], opacity: Field) -> Tensor:
    return canvas + opacity[:, None] * (colour[:, :, None, None] - canvas)


def _opacity(distance: Field, pixels_per_unit: Tensor) -> Field:
    """1 inside, 0 outside, a ramp of one pixel between."""
    return (0.5 - distance * pixels_per_unit).clamp(0, 1)


def _tint(n: int, colour: Colour, rng: torch.Generator) -> Float[Tensor, "n 3"]:
    return (torch.tensor(colour) + 0.14 * (torch.rand(n, 3, generator=rng) - 0.5)).clamp(0, 1)


def _uniform(rng: torch.Generator, n: int, low: float, high: float) -> Float[Tensor, " n"]:
    return low + (high - low) * torch.rand(n, generator=rng)
