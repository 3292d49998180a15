"""`bdscan benchmark table`: from scores to error rates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from modelscan_bd.bench.facts import countable
from modelscan_bd.bench.store import Result, read
from modelscan_bd.cli.options import names
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Tier

_TIER = click.option(
    "--tier", type=click.Choice([tier.value for tier in Tier]),
    help="Only measurements with clean images, or without. [default: what there is]",
)  # fmt: skip


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_TIER
@click.option("--dataset", "datasets", type=names, metavar="A,B", help="Only models of these data sets.")
@click.option("--detectors", type=names, metavar="A,B", help="Only these detectors.")
@click.option("--by-attack", is_flag=True, help="One column for each attack, not for each group of attacks.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def table(
    results: tuple[Path, ...],
    tier: str | None,
    datasets: tuple[str, ...] | None,
    detectors: tuple[str, ...] | None,
    by_attack: bool,
    as_json: bool,
) -> None:
    """Says how well each score of the RESULTS of `run` or `measure` tells infected from benign models."""
    from modelscan_bd.bench.groups import groups
    from modelscan_bd.bench.table import lines, markdown

    group = {} if by_attack else groups()
    found = countable(_of(results, tier, datasets))
    table = [line for line in lines(found, lambda id: group.get(id, id)) if not detectors or line.detector in detectors]
    click.echo(json.dumps([asdict(line) for line in table], indent=2) if as_json else markdown(table), nl=False)


def _of(paths: Sequence[Path], tier: str | None, datasets: tuple[str, ...] | None) -> list[Result]:
    """The results of one tier on models of these data sets, or on all.

    Raises UsageError where models measured with images and without would be counted as one kind.
    """
    found = read(paths, Tier(tier) if tier else None)
    if len({result["tier"] for result in found}) > 1:
        raise UsageError(
            "there are measurements with clean images and without", remedy="Choose: --tier images or --tier none."
        )
    return [result for result in found if not datasets or result["truth"]["dataset"] in datasets]
