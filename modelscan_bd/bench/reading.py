"""`bdscan benchmark report` and `compare`: what measurements say, as a page, and beside other measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelscan_bd import rulebook
from modelscan_bd.bench.store import Result, read
from modelscan_bd.errors import UsageError
from modelscan_bd.report.escape import plain
from modelscan_bd.types import Tier

if TYPE_CHECKING:
    from modelscan_bd.bench.compare import Comparison, Power

_PATH = click.Path(exists=True, path_type=Path)
_RULES = click.option(
    "--rules", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of rules, beside those that ship.",
)  # fmt: skip


@click.command()
@click.argument("results", nargs=-1, required=True, type=_PATH)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="Folder for report.html, report.json and cells.csv.",
)  # fmt: skip
@click.option("--suite", default="", help="What the models are, for the title.")
@_RULES
def report(results: tuple[Path, ...], out: Path, suite: str, rules: Path | None) -> None:
    """Writes a page on the RESULTS of `run` or `measure`: how well verdict and detectors tell infected from benign
    models, by attack, data set and network.
    """
    from modelscan_bd.bench import report as reports
    from modelscan_bd.bench.terminal import shown

    found = read(results)
    files = reports.write(found, out, suite=suite, book=rulebook.load(rules))
    click.echo(shown(found), nl=False)
    for file in files:
        click.echo(file)


@click.command()
@click.argument("a", type=_PATH)
@click.argument("b", type=_PATH)
@click.option(
    "--tier", type=click.Choice([tier.value for tier in Tier]),
    help="Only measurements with clean images, or without. [default: what there is]",
)  # fmt: skip
@click.option(
    "--score", "scores", multiple=True, metavar="DETECTOR.SCORE",
    help="Compare this score, not the verdict; given twice, the second is B's.",
)  # fmt: skip
@_RULES
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compare(a: Path, b: Path, tier: str | None, scores: tuple[str, ...], rules: Path | None, as_json: bool) -> None:
    """Says whether the results B of `run` or `measure` tell infected from benign models better than the results A.

    Only models that both have measured count, each against itself.
    """
    import numpy as np

    from modelscan_bd.bench import compare as comparing
    from modelscan_bd.bench.report.plain import jsonable

    if len(scores) > 2:
        raise UsageError(f"there are two sides, and {len(scores)} scores", remedy="Give --score twice at most.")
    sides = comparing.paired(*(_of_one_tier(path, tier) for path in (a, b)))
    book = rulebook.load(rules)
    chosen = (scores[0], scores[-1]) if scores else (None, None)
    first, second = (
        comparing.single(results, score, title) if score else comparing.verdict(results, book, title)
        for results, score, title in zip(sides, chosen, (f"A, {a}", f"B, {b}"), strict=True)
    )
    infected = {result["model"]: result["truth"]["outcome"] == "infected" for result in sides[0]}
    found = comparing.compare(first, second, infected, rng=np.random.default_rng(0))
    click.echo(json.dumps(jsonable(found), indent=2, allow_nan=False) if as_json else _text(found))


def _of_one_tier(path: Path, tier: str | None) -> list[Result]:
    """Raises UsageError where models measured with images and without would be counted as one kind."""
    from modelscan_bd.bench.facts import countable

    found = countable(read([path], Tier(tier) if tier else None))
    if len({result["tier"] for result in found}) > 1:
        raise UsageError(
            f"'{path}' holds measurements with clean images and without",
            remedy="Choose: --tier images or --tier none.",
        )
    return found


def _text(found: Comparison) -> str:
    lines = [
        f"{found.benign} benign and {found.infected} infected models that both judge",
        *(f"{side.title}: {_power(side)}" for side in (found.a, found.b)),
        f"infected models that only A finds: {found.only_a}, only B: {found.only_b} (p = {found.p:.2g})",
    ]
    if found.ratio is not None and found.ratio_interval is not None:
        fast, slow = found.ratio_interval
        lines.append(f"seconds of B to those of A, model by model: {found.ratio:.2f} ({fast:.2f} to {slow:.2f})")
    return "\n".join([*map(plain, lines), "", found.answer])


def _power(side: Power) -> str:
    low, high = side.found.interval
    return (
        f"AUROC {side.auroc:.3f}, at 5% false alarms {side.found.count} of {side.found.n} found "
        f"({low:.0%} to {high:.0%})"
    )
