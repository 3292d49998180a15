"""What each detector costs and what it tells: a dot for each, with its name beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from modelscan_bd.bench.report.svg import Scale, axes, group, picture, tag, width_of

_WIDTH, _HEIGHT, _LEFT, _TOP = 760.0, 400.0, 58.0, 12.0
_LETTERS, _DOT = 11.0, 4.5
_FASTEST = 0.001  # seconds; what took less is drawn there
_STEPS = (7.0, 16.0, 28.0, 42.0, 58.0, 76.0)  # how far a name may stand from its dot
_ANGLES = tuple(math.radians(degrees) for degrees in (0, 180, 35, -35, 145, -145, 70, -70, 110, -110, 90, -90))


@final
@dataclass(frozen=True, kw_only=True)
class Dot:
    """One detector by its best score."""

    name: str
    seconds: float  # median over models
    auroc: float
    told: str  # where the pointer rests


@final
@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels that nothing else should cover."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)


def cost(dots: Sequence[Dot]) -> Markup:
    """Seconds against AUROC; upper left is best."""
    x, y = _scales(dots)
    at = [(x(dot.seconds), y(dot.auroc)) for dot in dots]
    boxes = place([dot.name for dot in dots], at, Box(left=x.start, top=y.end, right=x.end, bottom=y.start))
    frame = axes(x, y, x_title="median seconds per model (log scale)", y_title="AUROC of the best score")
    names = [part for dot, where, box in zip(dots, at, boxes, strict=True) for part in _name(dot, where, box)]
    circles = [
        tag("circle", tag("title", dot.told), cx=cx, cy=cy, r=_DOT, class_="dot")
        for dot, (cx, cy) in zip(dots, at, strict=True)
    ]
    return picture(
        frame, group(names), group(circles), width=_WIDTH, height=_HEIGHT, title="Cost and power of detectors"
    )


def _scales(dots: Sequence[Dot]) -> tuple[Scale, Scale]:
    seconds = [max(dot.seconds, _FASTEST) for dot in dots]
    low, high = math.floor(math.log10(min(seconds))), math.floor(math.log10(max(seconds))) + 1
    least = min(0.5, math.floor(min(dot.auroc for dot in dots) * 10) / 10)
    x = Scale(low=10.0**low, high=10.0**high, start=_LEFT, end=_WIDTH - 10, log=True)
    return x, Scale(low=least, high=1.0, start=_HEIGHT - 44, end=_TOP)


def place(names: Sequence[str], at: Sequence[tuple[float, float]], frame: Box) -> list[Box]:
    """Where the names may stand: near their dots, and on no other name or dot if that can be had."""
    taken = [Box(left=x - _DOT, right=x + _DOT, top=y - _DOT, bottom=y + _DOT) for x, y in at]
    found = []
    for name, where in zip(names, at, strict=True):
        best = min(_candidates(name, where), key=lambda box: _trouble(box, taken, frame))
        taken.append(best)
        found.append(best)
    return found


def _candidates(name: str, where: tuple[float, float]) -> Iterator[Box]:
    """The nearest ones first."""
    wide, high = width_of(name, _LETTERS), _LETTERS + 2
    for step in _STEPS:
        for angle in _ANGLES:
            x, y = where[0] + step * math.cos(angle), where[1] - step * math.sin(angle)
            left = x - wide / 2 * (1 - math.cos(angle))
            yield Box(left=left, right=left + wide, top=y - high / 2, bottom=y + high / 2)


def _trouble(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """How much is covered twice or stands out of the frame, in square pixels."""
    area = (box.right - box.left) * (box.bottom - box.top)
    return round(sum(box.overlap(other) for other in taken) + area - box.overlap(frame), 3)


def _name(dot: Dot, where: tuple[float, float], box: Box) -> Iterator[Markup]:
    x, y = where
    near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
    if math.hypot(near_x - x, near_y - y) > 2 * _DOT + 2:
        yield tag("line", x1=x, y1=y, x2=near_x, y2=near_y, class_="leader")
    left, middle, right = (box.left, "start"), ((box.left + box.right) / 2, "middle"), (box.right, "end")
    at, anchor = right if box.right <= x else left if box.left >= x else middle
    yield tag("text", dot.name, x=at, y=box.bottom - 3, class_=f"label {anchor}", font_size=_LETTERS)
