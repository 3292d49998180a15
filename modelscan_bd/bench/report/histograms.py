"""Distributions of a score: benign models above the line, infected ones below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from modelscan_bd.bench.report.svg import Scale, group, number, picture, tag

_BINS = 24
_EDGE = 0.02  # share of the models beyond either end of the axis, which are counted in the last bin there


def mirrored(
    benign: Sequence[float], infected: Sequence[float], *, title: str, x_title: str, width: float, height: float
) -> Markup:
    """Each side as shares of its own models, both to the same scale."""
    low, high = _range([*benign, *infected])
    x = Scale(low=low, high=high, start=10.0, end=width - 10)
    above, below = (_shares(values, low, high) for values in (benign, infected))
    middle, room = 22 + (height - 62) / 2, (height - 66) / 2
    most = max(*above, *below, 1e-9)
    return picture(
        tag("text", title, x=10, y=14, class_="label strong"),
        group(_bars(above, x, middle, -room / most, "benign", len(benign))),
        group(_bars(below, x, middle, room / most, "infected", len(infected))),
        tag("line", x1=x.start, x2=x.end, y1=middle, y2=middle, class_="base"),
        group(_ticks(x, height - 26, most=int(width // 50))),
        tag("text", f"max {most:.0%}", x=width - 10, y=14, class_="tick end"),
        tag("text", x_title, x=width / 2, y=height - 4, class_="axis middle"),
        width=width, height=height, title=f"{title}: distribution on benign and infected models",
    )  # fmt: skip


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = (float(edge) for edge in np.quantile(values, [_EDGE, 1 - _EDGE]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _shares(values: Sequence[float], low: float, high: float) -> list[float]:
    counts, _ = np.histogram(np.clip(values, low, high), bins=_BINS, range=(low, high))
    return [float(share) for share in counts / max(len(values), 1)]


def _bars(shares: Sequence[float], x: Scale, middle: float, unit: float, side: str, n: int) -> Iterator[Markup]:
    step = (x.end - x.start) / _BINS
    for index, share in enumerate(shares):
        if share:
            tall = abs(share * unit)
            yield tag(
                "rect", tag("title", f"{round(share * n)} of {n} {side} models"), class_=side, height=tall,
                x=x.start + index * step + 0.5, y=middle - tall if unit < 0 else middle, width=step - 1,
            )  # fmt: skip


def _ticks(x: Scale, y: float, *, most: int) -> Iterator[Markup]:
    for value in x.ticks(most):
        yield tag("line", x1=x(value), x2=x(value), y1=y - 12, y2=y - 8, class_="base")
        yield tag("text", number(value), x=x(value), y=y + 4, class_="tick middle")
