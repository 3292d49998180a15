"""ROC curves: what share of the infected models is found at what price in false alarms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

from markupsafe import Markup

from modelscan_bd import stats
from modelscan_bd.bench.report.svg import Scale, axes, group, picture, tag

MOST = 6  # curves that one can tell apart
_DASHES = (None, "7 3", "2 3", "8 3 2 3", "12 4", "4 2")
_SIZE, _LEFT, _TOP, _LINE = 330.0, 58.0, 12.0, 20.0


@final
@dataclass(frozen=True, kw_only=True)
class Curve:
    """A score on benign and on infected models."""

    title: str
    benign: Sequence[float]
    infected: Sequence[float]

    @property
    def auroc(self) -> float:
        return stats.auroc(self.benign, self.infected)

    def points(self) -> list[tuple[float, float]]:
        """(FPR, TPR) from the strictest level to none; the area below is the AUROC."""
        both = sorted([(v, False) for v in self.benign] + [(v, True) for v in self.infected], reverse=True)
        false = true = 0
        found = [(0.0, 0.0)]
        for _, tied in groupby(both, key=lambda one: one[0]):
            hits = [infected for _, infected in tied]
            true, false = true + sum(hits), false + len(hits) - sum(hits)
            found.append((false / len(self.benign), true / len(self.infected)))
        return found


def roc(curves: Sequence[Curve]) -> Markup:
    """The first curve is drawn strongest."""
    x = Scale(low=0.0, high=1.0, start=_LEFT, end=_LEFT + _SIZE)
    y = Scale(low=0.0, high=1.0, start=_TOP + _SIZE, end=_TOP)
    chance = tag("line", x1=x(0.0), y1=y(0.0), x2=x(1.0), y2=y(1.0), class_="chance")
    drawn = list(_drawn(curves[:MOST], x, y))
    frame = axes(
        x, y, x_title="false alarms (FPR, share of benign models)", y_title="found (TPR, share of infected models)"
    )
    return picture(frame, chance, *reversed(drawn), group(_legend(curves[:MOST], x.end + 24)),
                   width=x.end + 360, height=_TOP + _SIZE + 44, title="ROC curves")  # fmt: skip


def _drawn(curves: Sequence[Curve], x: Scale, y: Scale) -> Iterator[Markup]:
    for index, curve in enumerate(curves):
        path = "M" + " L".join(f"{x(false):.1f},{y(true):.1f}" for false, true in curve.points())
        yield tag("path", tag("title", curve.title), d=path, stroke_dasharray=_DASHES[index], class_=f"curve c{index}")


def _legend(curves: Sequence[Curve], x: float) -> Iterator[Markup]:
    for index, curve in enumerate(curves):
        y = _TOP + 14 + index * 2 * _LINE
        yield tag("line", x1=x, x2=x + 34, y1=y - 4, y2=y - 4, stroke_dasharray=_DASHES[index],
                  class_=f"curve c{index}")  # fmt: skip
        yield tag("text", curve.title, x=x + 42, y=y, class_="label")
        counts = f"AUROC {curve.auroc:.3f}; {len(curve.benign)} benign, {len(curve.infected)} infected"
        yield tag("text", counts, x=x + 42, y=y + 15, class_="tick")
