"""The heat map: which detector sees which attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from modelscan_bd.bench.report.power import FEW
from modelscan_bd.bench.report.svg import group, picture, tag, width_of
from modelscan_bd.bench.table import Cell

# viridis (Smith and van der Walt 2015, CC0): even steps of lightness, the same to colour-blind eyes
_RAMP = (
    "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26",
    "#fde725",
)  # fmt: skip
_LIGHT_FROM = 6  # of the ramp; on these, letters are black
_CHANCE = 0.5
_CELL, _ROW, _LETTERS, _KEY = 31.0, 19.0, 11.0, 46.0  # pixels


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """An attack or a kind of attacks, and what each detector made of it."""

    title: str
    strong: bool  # a kind: the attacks below it belong to it
    cells: Mapping[str, Cell]  # by detector


def heat_map(rows: Sequence[Row], scores: Mapping[str, str], *, id: str) -> Markup:
    """One column for each detector, whose score is named where the pointer rests. `id` sets its pattern apart."""
    labels = [_label(row) for row in rows]
    left = max(width_of(label, _LETTERS) for label in labels) + 14
    top = max(width_of(detector, _LETTERS) for detector in scores) * 0.8 + 18
    width = left + _CELL * len(scores) + 70
    body = [
        _row(row, label, scores, left, top + index * _ROW, id)
        for index, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]
    bottom = top + len(rows) * _ROW
    return picture(
        _hatching(id), group(_heads(scores, left, top)), *body, _key(left, bottom + 14, id),
        width=width, height=bottom + _KEY, title="AUROC of each detector, attack by attack",
    )  # fmt: skip


def _label(row: Row) -> str:
    most = max((cell.infected for cell in row.cells.values()), default=0)
    return f"{row.title} ({most})" if row.strong else f"  {row.title} ({most})"


def _heads(scores: Mapping[str, str], left: float, top: float) -> Iterator[Markup]:
    for index, (detector, score) in enumerate(scores.items()):
        x, y = left + (index + 0.5) * _CELL, top - 6
        yield tag("text", tag("title", f"{detector}: {score}"), detector, x=x, y=y, class_="column",
                  transform=f"rotate(-52 {x:.1f} {y:.1f})")  # fmt: skip


def _row(row: Row, label: str, scores: Mapping[str, str], left: float, y: float, id: str) -> Markup:
    title = tag("text", label, x=left - 8, y=y + 13, class_="label end strong" if row.strong else "label end")
    cells = [
        _cell(row.title, detector, score, row.cells.get(detector), left + index * _CELL, y, id)
        for index, (detector, score) in enumerate(scores.items())
    ]
    return group([title, *cells])


def _cell(attack: str, detector: str, score: str, cell: Cell | None, x: float, y: float, id: str) -> Markup:
    if cell is None:
        return tag("text", "\N{EN DASH}", x=x + _CELL / 2, y=y + 13, class_="none middle")
    step = round(max(cell.auroc - _CHANCE, 0) / (1 - _CHANCE) * (len(_RAMP) - 1))
    parts = [
        tag("title", _told(attack, detector, score, cell)),
        tag("rect", x=x + 0.5, y=y + 0.5, width=_CELL - 1, height=_ROW - 1, fill=_RAMP[step]),
    ]
    if cell.infected < FEW:
        parts.append(tag("rect", x=x + 0.5, y=y + 0.5, width=_CELL - 1, height=_ROW - 1, fill=f"url(#{id})"))
    dark = "value middle black" if step >= _LIGHT_FROM else "value middle white"
    return group([*parts, tag("text", short(cell.auroc), x=x + _CELL / 2, y=y + 13, class_=dark)])


def short(share: float) -> str:
    """Two digits.

    >>> short(0.934), short(0.999)
    ('.93', '1.0')
    """
    return "1.0" if share >= 0.995 else f"{share:.2f}".lstrip("0")


def _told(attack: str, detector: str, score: str, cell: Cell) -> str:
    low, high = cell.interval
    named = f", target named {cell.hits} of {cell.named}" if cell.named else ""
    return (
        f"{attack}, {detector} ({score}): AUROC {cell.auroc:.2f} ({low:.2f} to {high:.2f}), {cell.infected} infected "
        f"and {cell.benign} benign models, TPR at 5% FPR {cell.tpr:.2f}{named}"
    )


def _hatching(id: str) -> Markup:
    lines = tag("path", d="M-1,1 l2,-2 M0,6 l6,-6 M5,7 l2,-2", stroke="#fff", stroke_width=1.2, stroke_opacity=0.4)
    return tag("defs", tag("pattern", lines, id=id, width=6, height=6, patternUnits="userSpaceOnUse"))


def _key(left: float, y: float, id: str) -> Markup:
    steps = [
        tag("rect", x=left + index * 18, y=y, width=18, height=12, fill=colour) for index, colour in enumerate(_RAMP)
    ]
    end = left + len(_RAMP) * 18
    hatched = [
        tag("rect", x=end + 70, y=y, width=18, height=12, fill=_RAMP[4]),
        tag("rect", x=end + 70, y=y, width=18, height=12, fill=f"url(#{id})"),
        tag("text", f"fewer than {FEW} infected models", x=end + 94, y=y + 10, class_="tick"),
    ]
    words = [
        tag("text", "AUROC", x=left - 8, y=y + 10, class_="tick end"),
        tag("text", "0.5 or less", x=left, y=y + 26, class_="tick"),
        tag("text", "1", x=end, y=y + 26, class_="tick end"),
    ]
    return group([*steps, *words, *hatched])
