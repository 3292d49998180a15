"""`bdscan benchmark calibrate`: from measurements, or from a user's own models, to rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from modelscan_bd import rulebook
from modelscan_bd.bench import calibrate as calibration
from modelscan_bd.bench import own
from modelscan_bd.bench.engine import Here, Processes
from modelscan_bd.bench.measure import Conditions, jobs, measure
from modelscan_bd.bench.measuring import interruptible
from modelscan_bd.bench.process import share_of_memory
from modelscan_bd.bench.progress import Bars, Tally
from modelscan_bd.bench.run import CELLS
from modelscan_bd.bench.store import FILE, Result, opened, read
from modelscan_bd.cli.options import names
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Effort, Tier

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("results", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--models", type=_FOLDER, help="A folder of your own models, in place of RESULTS.")
@click.option(
    "--truth", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV table of them: file,outcome[,attack,target_label,dataset,recipe,images].",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="Folder of rules: its table of known models and its figures are replaced, its prose stays.",
)  # fmt: skip
@click.option("--dataset", "datasets", type=names, metavar="A,B", help="Only models of these data sets.")
@click.option("--suite", default="own models", show_default=True, help="What the models are, for the rules.")
@click.option("--detectors", type=names, metavar="A,B", help="Measure own models by these detectors only.")
@click.option("--effort", type=click.Choice([e.value for e in Effort]), default="standard", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Models at a time.")
@click.option("--seed", type=int, default=0, show_default=True)
def calibrate(
    results: tuple[Path, ...], models: Path | None, truth: Path | None, out: Path, datasets: tuple[str, ...] | None,
    suite: str, detectors: tuple[str, ...] | None, effort: str, workers: int, seed: int,
) -> None:  # fmt: skip
    """Makes rules whose verdicts compare with models of known truth: `bdscan MODEL --rules OUT`.

    The models are those in the RESULTS of `run` or `measure`, or your own: benign ones set the false-alarm rate, and
    with infected ones the rules say what is found as well. Own models are measured first, with clean images where the
    table names some and without; the measurements stay in OUT, and what was cut off goes on.
    """
    if bool(results) == bool(models and truth):
        raise UsageError("there is nothing to calibrate on", remedy="Give RESULTS, or both --models and --truth.")
    if models and truth:
        conditions = Conditions(images={}, detectors=detectors or (), effort=Effort(effort), seed=seed)
        measured = _measured(own.read(models, truth), conditions, out, workers)
    else:
        measured = read(results)
    found = [result for result in measured if not datasets or result["truth"]["dataset"] in datasets]
    book = rulebook.load(out if out.is_dir() else None)
    table = calibration.known_models(found, book)
    click.echo(f"{len(found)} measurements; left out are {len(found) - len(table)} of attacks that did not take")
    for line in calibration.write(book, table, out, suite=suite, date=datetime.now(UTC).date().isoformat()):
        click.echo(line)


def _measured(models: dict[str, own.Own], conditions: Conditions, out: Path, workers: int) -> list[Result]:
    """What is missing of both tiers is measured first."""
    engine = Here() if workers == 1 else Processes(workers=workers, memory=share_of_memory(workers))
    with interruptible(), opened(out / FILE) as store, Bars(CELLS) as bars:
        todo = []
        for tier in Tier:
            here = {name: one for name, one in models.items() if tier is Tier.NONE or one.images}
            images = {name: one.images if tier is Tier.IMAGES else None for name, one in here.items()}
            facts = {name: one.known for name, one in here.items()}
            todo += jobs(facts, images, conditions, replace(conditions.setup, tier=tier), store)
        tally = Tally(todo)
        bars.expect(CELLS, tally.wanted, done=0)
        for cell in measure(todo, store, engine):
            bars.step(CELLS, tally.count(cell))
        return [result for result in store.results() if result["model"] in models and result["seed"] == conditions.seed]
