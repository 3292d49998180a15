"""Numbers to SVG: elements, scales and axes. Pure; whatever text comes in is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup, escape

from modelscan_bd.report.escape import plain

_CHARACTER = 0.6  # width of a letter in units of its height, about


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. `class_` is class, and other underscores are hyphens.

    >>> tag("text", "a<b", x=1.0, class_="tick")
    Markup('<text x="1" class="tick">a&lt;b</text>')
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(child if isinstance(child, Markup) else escape(plain(str(child))) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def group(parts: Iterator[Markup] | Sequence[Markup], **attributes: object) -> Markup:
    return tag("g", *parts, **attributes)


def picture(*parts: Markup, width: float, height: float, title: str) -> Markup:
    """A picture that shrinks with the page, and tells those who cannot see it what it shows."""
    return tag(
        "svg", *parts, viewBox=f"0 0 {width:.0f} {height:.0f}", style=f"max-width:{width:.0f}px", role="img",
        aria_label=plain(title), xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def width_of(text: str, size: float) -> float:
    """About how wide a text is at that height of letters."""
    return len(text) * size * _CHARACTER


@final
@dataclass(frozen=True, kw_only=True)
class Scale:
    """From values to pixels: `low` is at `start`, `high` at `end`. Values beyond are drawn at the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        share = (min(at, high) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values between low and high."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        if self.high <= self.low:
            return [self.low]
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20 ... ."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def number(value: float) -> str:
    """A value as a tick's label."""
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


def axes(x: Scale, y: Scale, *, x_title: str, y_title: str, most: int = 6) -> Markup:
    """Grid, labels and titles of a plot whose corner is where both scales begin."""
    return group([*_across(x, y, most), *_up(x, y, most), *_titles(x, y, x_title, y_title)])


def _across(x: Scale, y: Scale, most: int) -> Iterator[Markup]:
    for value in x.ticks(most):
        at = x(value)
        yield tag("line", x1=at, x2=at, y1=y.start, y2=y.end, class_="grid")
        yield tag("text", number(value), x=at, y=y.start + 14, class_="tick middle")


def _up(x: Scale, y: Scale, most: int) -> Iterator[Markup]:
    for value in y.ticks(most):
        at = y(value)
        yield tag("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid")
        yield tag("text", number(value), x=x.start - 6, y=at + 4, class_="tick end")


def _titles(x: Scale, y: Scale, x_title: str, y_title: str) -> Iterator[Markup]:
    yield tag("text", x_title, x=(x.start + x.end) / 2, y=y.start + 32, class_="axis middle")
    if y_title:
        left, middle = x.start - 40, (y.start + y.end) / 2
        yield tag("text", y_title, x=left, y=middle, transform=f"rotate(-90 {left:.1f} {middle:.1f})",
                  class_="axis middle")  # fmt: skip
