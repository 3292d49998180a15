"""`bdscan benchmark measure` and `calibrate`: from a zoo to scores, from scores to levels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from modelscan_bd import rulebook
from modelscan_bd.bench.calibrate import calibrate as calibrated
from modelscan_bd.bench.calibrate import write_rule
from modelscan_bd.bench.measure import Conditions, read, samples
from modelscan_bd.bench.measure import measure as measured
from modelscan_bd.types import Rule

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def dataset_folder(text: str) -> tuple[str, Path]:
    """`NAME=DIR`, where DIR exists."""
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir():
        raise click.BadParameter(f"'{text}' is not NAME=DIR with a folder that exists.")
    return name, Path(folder)


@click.command()
@click.argument("zoo", type=_FOLDER)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the results go.")
@click.option(
    "--data", "images", multiple=True, metavar="NAME=DIR", type=dataset_folder,
    help="Clean images of the dataset NAME; repeatable. Without any, the run is data-free.",
)  # fmt: skip
@click.option("--detectors", metavar="A,B", default="", help="Only these detectors.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--timeout", type=float, metavar="SECONDS", help="Per model.")
def measure(
    zoo: Path, out: Path, images: tuple[tuple[str, Path], ...], detectors: str, seed: int, timeout: float | None
) -> None:
    """Runs the detectors on every model in ZOO, one JSON per model; what is done already is skipped."""
    chosen = tuple(name for name in detectors.split(",") if name)
    conditions = Conditions(images=dict(images), detectors=chosen, seed=seed, timeout=timeout)
    for name, report in measured(zoo, out, conditions):
        click.echo(f"{name}: done before" if report is None else f"{name}: {report.verdict}, {report.seconds:.1f} s")


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", "folder", type=_FOLDER, required=True, help="The folder of rules whose levels are replaced.")
@click.option("--suite", default="own zoo", show_default=True, help="What the models are, for the rule file.")
def calibrate(results: tuple[Path, ...], folder: Path, suite: str) -> None:
    """Replaces the levels of the rules in a folder by those that the RESULTS of `measure` give."""
    found = read(results)
    today = datetime.now(UTC).date().isoformat()
    files = {file: rulebook.parse(file.read_text(encoding="utf-8"), origin=file.name) for file in folder.glob("*.toml")}
    rules = {file: rule for file, rule in sorted(files.items()) if isinstance(rule, Rule)}
    for file, rule in rules.items():
        scores = samples(found, rule.detector, rule.score)
        better = calibrated(rule, scores, rules=len(rules), suite=suite, date=today)
        write_rule(better, file)
        base = better.calibration
        power = "no infected models" if base.auroc is None else f"AUROC {base.auroc:.3f}"
        click.echo(f"{rule.id}: suspicious {better.suspicious:g}, infected {better.infected:g}, {power}")
