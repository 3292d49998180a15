"""Which pictures a report shows, and of what; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from modelscan_bd.bench import table
from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.report.cost import Dot, cost
from modelscan_bd.bench.report.curves import MOST, Curve, roc
from modelscan_bd.bench.report.document import Document
from modelscan_bd.bench.report.heat import Row, heat_map
from modelscan_bd.bench.report.histograms import mirrored
from modelscan_bd.bench.report.power import Reading
from modelscan_bd.bench.store import Result
from modelscan_bd.bench.table import ALL, Line
from modelscan_bd.types import Tier

_WIDE, _SMALL = (620.0, 230.0), (236.0, 150.0)  # pixels


def heat(document: Document, tier: Tier, kinds: Mapping[str, str]) -> Markup | None:
    """Kinds of triggers, each above its attacks."""
    best = table.best(document.by_kind[tier])
    if not best:
        return None
    by_kind = {line.detector: line for line in best}
    by_attack = {line.detector: line for line in document.by_attack[tier]}
    rows = [Row(title="all attacks", strong=True, cells={name: line.cells[ALL] for name, line in by_kind.items()})]
    for kind in sorted({name for line in best for name in line.cells} - {ALL}):
        rows.append(_row(kind, by_kind, strong=True))
        attacks = {attack for line in by_attack.values() for attack in line.cells} - {ALL}
        rows.extend(_row(a, by_attack, strong=False) for a in sorted(attacks) if kinds.get(a, a) == kind)
    return heat_map(rows, {line.detector: line.score for line in best}, id=f"few-{tier.value}")


def _row(title: str, lines: Mapping[str, Line], *, strong: bool) -> Row:
    cells = {name: line.cells[title] for name, line in lines.items() if title in line.cells}
    return Row(title=title, strong=strong, cells=cells)


def curves(document: Document, tier: Tier) -> Markup | None:
    """The verdict, and the best single scores."""
    found = [*_of_verdict(document.readings, tier, "verdict, judged among themselves")]
    if not found:
        found = [*_of_verdict(document.shipped_readings, tier, "verdict, judged by the rules that ship")]
    for line in table.best(document.by_kind[tier])[: MOST - len(found)]:
        title = f"{line.detector}, {line.score}"
        found.append(Curve(title=title, **_sides(document.results, tier, line)))
    return roc(found) if found else None


def _of_verdict(readings: Sequence[Reading], tier: Tier, title: str) -> Iterator[Curve]:
    sides = _values(readings, tier)
    if all(sides.values()):
        yield Curve(title=title, **sides)


def _values(readings: Sequence[Reading], tier: Tier) -> dict[str, list[float]]:
    here = [reading for reading in readings if reading.seen.model.tier is tier]
    return {
        "benign": [reading.value for reading in here if not reading.infected],
        "infected": [reading.value for reading in here if reading.infected],
    }


def _sides(results: Sequence[Result], tier: Tier, line: Line) -> dict[str, list[float]]:
    def of(outcome: Outcome) -> list[float]:
        return [
            result["scores"][line.detector][line.score]
            for result in results
            if result["tier"] is tier
            and result["truth"]["outcome"] == outcome
            and line.score in result["scores"].get(line.detector, {})
        ]

    return {"benign": of(Outcome.BENIGN), "infected": of(Outcome.INFECTED)}


def deviations(document: Document, tier: Tier) -> Markup | None:
    """The mean deviation, which the verdict goes by."""
    for readings, who in (
        (document.readings, "judged among themselves"),
        (document.shipped_readings, "by the rules that ship"),
    ):
        sides = _values(readings, tier)
        if any(sides.values()):
            width, height = _WIDE
            return mirrored(
                **sides,
                title=f"Verdict, {who}",
                x_title="mean deviation from benign models (robust standard deviations)",
                width=width,
                height=height,
            )
    return None


def distributions(document: Document, tier: Tier) -> list[Markup]:
    """One small picture for each detector's best score."""
    width, height = _SMALL
    return [
        mirrored(
            **_sides(document.results, tier, line), title=line.detector, x_title=line.score, width=width, height=height
        )
        for line in table.best(document.by_kind[tier])
    ]


def costs(document: Document, tier: Tier) -> Markup | None:
    best = table.best(document.by_kind[tier])
    return cost([_dot(line) for line in best]) if best else None


def _dot(line: Line) -> Dot:
    whole = line.cells[ALL]
    low, high = whole.interval
    return Dot(
        name=line.detector,
        seconds=line.seconds,
        auroc=whole.auroc,
        told=f"{line.detector} ({line.score}): {line.seconds:.2g} s, AUROC {whole.auroc:.3f} ({low:.2f} to "
        f"{high:.2f}), {whole.benign} benign and {whole.infected} infected models",
    )
