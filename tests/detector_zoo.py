"""The scores behind the README's figures, of the suites `cpu`, `variety` and `wide`.

    bdscan benchmark zoo build cpu --out zoo ...           # then the same with `variety` and `wide`; hours on two cores
    bdscan benchmark measure zoo --out results.sqlite --effort thorough --data cifar10=DIR --data gtsrb=DIR ...
    bdscan benchmark measure zoo --out results.sqlite --effort thorough
    python tests/detector_zoo.py collect results.sqlite    # writes detector_zoo.csv
    bdscan benchmark calibrate results.sqlite --out rules  # writes rules/known_models.csv and the rules' figures
    python tests/detector_zoo.py table                     # what the README says, from these two tables

Settings and statistics of the detectors were chosen on the models of gtsrb, fashion and signs in `cpu` and `variety`;
those of cifar10 and mnist were measured when all that stood, and each detector's figures in the README are of cifar10
and mnist. Which scores count, and how they are fused, was chosen on all models of `cpu` and `variety`, before those of
`wide` were measured.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from modelscan_bd import rulebook
from modelscan_bd.bench import protocol
from modelscan_bd.bench.groups import groups
from modelscan_bd.bench.protocol import SORTS, Rate, Seen
from modelscan_bd.bench.store import read
from modelscan_bd.bench.table import ALL, Line, lines
from modelscan_bd.types import Tier

TABLE = Path(__file__).with_suffix(".csv")
TIERS = ("images", "none")
DEVELOPMENT, EVALUATION = ("gtsrb", "fashion", "signs"), ("cifar10", "mnist")
ALL_DATA = (*DEVELOPMENT, *EVALUATION)
_TRUTH = ("attack", "outcome", "dataset", "arch")
_DIGITS = 5  # of a score

Result = dict[str, Any]


def results(tier: str, datasets: Sequence[str]) -> list[Result]:
    """The measurements of one tier as `bench.table` reads them; a target is only known to have been named or not."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [_result(row) for row in csv.DictReader(file) if row["tier"] == tier and row["dataset"] in datasets]


def _result(row: Mapping[str, str]) -> Result:
    scores: dict[str, dict[str, float]] = {}
    top: dict[str, dict[str, int]] = {}
    for column, value in row.items():
        detector, dot, score = column.partition(".")
        if dot and value:
            number, _, named = value.partition("@")
            scores.setdefault(detector, {})[score] = float(number)
            if named:
                top.setdefault(detector, {})[score] = int(named)
    seconds = {detector: float(row[f"{detector}:s"]) for detector in scores}
    truth = {key: row[key] or None for key in _TRUTH}
    target = 1 if row["target"] else None  # so that a score that named it has 1 in `top`
    return {
        "model": row["model"],
        "scores": scores,
        "top": top,
        "seconds": seconds,
        "truth": truth | {"target_label": target},
    }


def _row(result: Mapping[str, Any]) -> dict[str, object]:
    truth = result["truth"]
    row = {
        "model": result["model"],
        "tier": result["tier"].value,
        **{key: truth[key] for key in _TRUTH},
        "target": truth["target_label"],
    }
    for detector, scores in result["scores"].items():
        row[f"{detector}:s"] = round(result["seconds"][detector], 1)
        for score, value in scores.items():
            named = result["top"].get(detector, {}).get(score)
            flag = "" if named is None or truth["target_label"] is None else f"@{int(named == truth['target_label'])}"
            row[f"{detector}.{score}"] = f"{value:.{_DIGITS}g}{flag}"
    return row


# ---------------------------------------------------------------- what the README says


def readme_lines() -> list[str]:
    return [*_verdicts(), "", *_kinds(), "", *_detectors()]


def verdicts(tier: Tier, sort: str) -> list[Seen]:
    """Every known model as the verdict's rule judges it by the benign models that share nothing of that sort."""
    book = rulebook.load()
    known = [model for model in book.known if model.tier is tier]
    return protocol.judged(known, SORTS[sort], book, [rule.key for rule in book.measured])


def _verdicts() -> Iterator[str]:
    """One column for what was left out and what was given."""
    columns = [(sort, tier) for sort in ("data set", "network") for tier in Tier]
    seen = [verdicts(tier, sort) for sort, tier in columns]
    titles = [f"another {sort}, {'with' if tier is Tier.IMAGES else 'without'} images" for sort, tier in columns]
    yield f"| compared with benign models of | {' | '.join(titles)} |"
    yield f"|---|{'---|' * len(columns)}"
    for infected in (True, False):
        side = "infected" if infected else "benign"
        for only, called in ((False, "`suspicious` or worse"), (True, "`infected`")):
            rates = [protocol.alarms(one, infected=infected, only_infected=only) for one in seen]
            yield f"| {side} models called {called} | {' | '.join(map(_rate, rates))} |"
    yield f"| AUROC (bootstrap) | {' | '.join(map(_auroc, seen))} |"


def _kinds() -> Iterator[str]:
    """What is found of each kind, and how well it is told apart, each data set judged by the others."""
    seen = [verdicts(tier, "data set") for tier in Tier]
    yield "| kind of backdoor | found with images | AUROC | found without | AUROC |"
    yield "|---|---|---|---|---|"
    for kind in protocol.kinds(seen[0]):
        cells = []
        for one in seen:
            of_kind = [judged for judged in one if judged.model.kind == kind]
            rate, auroc = protocol.alarms(of_kind, infected=True), protocol.auroc(one, kind)
            cells += [f"{rate.count} of {rate.n}", "-" if auroc is None else f"{auroc:.2f}"]
        yield f"| {kind} | {' | '.join(cells)} |"


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.count} of {rate.n} ({low:.0%}-{high:.0%})".replace("%-", "-").replace("%)", " %)")


def _auroc(seen: Sequence[Seen]) -> str:
    low, high = protocol.auroc_interval(seen, None, np.random.default_rng(0))
    return f"{protocol.auroc(seen):.2f} ({low:.2f}-{high:.2f})"


def _detectors() -> Iterator[str]:
    """One line a detector: the score that told most on the development models, and what it tells on the others."""
    best = {line.detector: line.score for line in sorted(_lines("images", DEVELOPMENT), key=_whole)}
    found = [{(line.detector, line.score): line for line in _lines(tier, EVALUATION)} for tier in TIERS]
    yield "| detector | score | AUROC with images | without | target named | seconds |"
    yield "|---|---|---|---|---|---|"
    chosen = [key for key in best.items() if key in found[0]]
    for key in sorted(chosen, key=lambda key: -_whole(found[0][key])):
        line = found[0][key]
        cells = [_cell(one.get(key)) for one in found]
        named = f"{line.cells[ALL].hits} of {line.cells[ALL].named}" if line.cells[ALL].named else "-"
        yield f"| {' | '.join([*key, *cells, named, f'{line.seconds:.1f}'])} |"


def _lines(tier: str, datasets: Sequence[str]) -> list[Line]:
    kinds = groups()
    return list(lines(results(tier, datasets), kinds.__getitem__))


def _whole(line: Line) -> float:
    return line.cells[ALL].auroc


def _cell(line: Line | None) -> str:
    if line is None:
        return "-"
    low, high = line.cells[ALL].interval
    return f"{_whole(line):.2f} ({low:.2f}-{high:.2f})"


# ---------------------------------------------------------------- commands


@click.group()
def main() -> None:
    """The scores of the detectors."""


@main.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def collect(results: tuple[Path, ...]) -> None:
    """Writes the table from the results of `bdscan benchmark measure`, with clean images and without."""
    rows = [_row(result) for tier in TIERS for result in read(results, Tier(tier))]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    click.echo(json.dumps({"rows": len(rows), "bytes": TABLE.stat().st_size}))


@main.command()
def table() -> None:
    """Prints what the README says."""
    click.echo("\n".join(readme_lines()))


if __name__ == "__main__":
    main()
