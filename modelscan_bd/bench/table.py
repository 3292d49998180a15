"""How well each score tells infected from benign, attack by attack: the rows that tables of error rates are made of."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np

from modelscan_bd import stats
from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.resampling import Draws, draws, middle, wins
from modelscan_bd.bench.store import Result

ALL = "all"
_FALSE_ALARMS = 0.05
_BOOTSTRAPS = 500

_Drawn: TypeAlias = Callable[[int, int], Draws]  # by how many benign and infected models there are


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One score on all benign models and on the infected ones of one group."""

    benign: int  # models
    infected: int
    auroc: float
    interval: tuple[float, float]  # 95 %, bootstrap over models
    tpr: float  # share of infected models above all but 5 % of the benign ones
    tpr_interval: tuple[float, float]  # 95 %, Wilson
    hits: int  # infected models whose target is the class that stands out
    named: int  # of how many; those that have one target, and a score that names a class


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """One score of one detector."""

    detector: str
    score: str
    seconds: float  # median over models
    cells: Mapping[str, Cell]  # by group; `all` is among them


def lines(results: Sequence[Result], group: Callable[[str], str], *, seed: int = 0) -> Iterator[Line]:
    """A line for each score that was measured on both benign and infected models. Weak models count on neither side."""
    rng = np.random.default_rng(seed)
    drawn = functools.cache(lambda benign, infected: draws(benign, infected, rounds=_BOOTSTRAPS, rng=rng))
    scores = sorted({(detector, score) for r in results for detector, found in r["scores"].items() for score in found})
    for detector, score in scores:
        having = [r for r in results if score in r["scores"].get(detector, {})]
        benign = [r for r in having if r["truth"]["outcome"] == Outcome.BENIGN]
        infected = [r for r in having if r["truth"]["outcome"] == Outcome.INFECTED]
        if benign and infected:
            seconds = statistics.median(r["seconds"][detector] for r in having)
            cells = dict(_cells(detector, score, benign, infected, group, drawn))
            yield Line(detector=detector, score=score, seconds=seconds, cells=cells)


def _cells(
    detector: str,
    score: str,
    benign: Sequence[Result],
    infected: Sequence[Result],
    group: Callable[[str], str],
    drawn: _Drawn,
) -> Iterator[tuple[str, Cell]]:
    kinds = [group(r["truth"]["attack"]) for r in infected]
    for name in (ALL, *sorted(set(kinds))):
        members = [r for r, kind in zip(infected, kinds, strict=True) if name in (ALL, kind)]
        yield name, _cell(detector, score, benign, members, drawn)


def _cell(detector: str, score: str, benign: Sequence[Result], infected: Sequence[Result], drawn: _Drawn) -> Cell:
    a = [r["scores"][detector][score] for r in benign]
    b = [r["scores"][detector][score] for r in infected]
    named = [r for r in infected if score in r["top"].get(detector, {}) and r["truth"]["target_label"] is not None]
    caught = sum(value > level(a) for value in b)
    return Cell(
        benign=len(a),
        infected=len(b),
        auroc=stats.auroc(a, b),
        interval=middle(drawn(len(a), len(b)).aurocs(wins(a, b))),
        tpr=caught / len(b),
        tpr_interval=stats.wilson(caught, len(b)),
        hits=sum(r["top"][detector][score] == r["truth"]["target_label"] for r in named),
        named=len(named),
    )


def level(benign: Sequence[float]) -> float:
    """The value that no more than 5 % of the benign models lie above."""
    return float(np.quantile(benign, 1 - _FALSE_ALARMS, method="higher"))


def best(found: Iterable[Line]) -> list[Line]:
    """Of each detector the line that tells most over all attacks; the detector that tells most comes first."""
    first: dict[str, Line] = {}
    for line in sorted(found, key=lambda line: line.cells[ALL].auroc, reverse=True):
        first.setdefault(line.detector, line)
    return list(first.values())


def markdown(found: Sequence[Line]) -> str:
    """AUROC with its interval, target hits and median seconds; one row for each score, one column for each group."""
    groups = [ALL, *sorted({name for line in found for name in line.cells} - {ALL})]
    counts = {g: max((line.cells[g].infected for line in found if g in line.cells), default=0) for g in groups}
    head = ["detector", "score", "s", *(f"{g} ({counts[g]})" for g in groups), "TPR at 5 % FPR", "target named"]
    rows = [head, ["---"] * len(head), *(_row(line, groups) for line in found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _row(line: Line, groups: Sequence[str]) -> list[str]:
    whole = line.cells[ALL]
    named = f"{whole.hits}/{whole.named}" if whole.named else ""
    cells = [_shown(line.cells.get(group)) for group in groups]
    return [line.detector, line.score, f"{line.seconds:.1f}", *cells, f"{whole.tpr:.2f}", named]


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    low, high = cell.interval
    return f"{cell.auroc:.2f} ({low:.2f}-{high:.2f})"
