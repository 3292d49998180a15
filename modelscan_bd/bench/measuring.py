"""`bdscan benchmark run` and `measure`: detectors on models of known truth, into one file of measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from modelscan_bd.bench.engine import Here, Processes
from modelscan_bd.bench.measure import Conditions, named, plan
from modelscan_bd.bench.measure import measure as measured
from modelscan_bd.bench.process import share_of_memory
from modelscan_bd.bench.progress import Bars, Tally, counted
from modelscan_bd.bench.run import CELLS, MODELS, Finished, Run, carry_out
from modelscan_bd.bench.store import FILE, opened
from modelscan_bd.bench.zoo import suite as suites
from modelscan_bd.bench.zoo.cli import lament, source_options
from modelscan_bd.bench.zoo.sources import Sources
from modelscan_bd.cli.options import names
from modelscan_bd.errors import Interrupted
from modelscan_bd.types import Effort, Failure

OUT = Path("bdscan-benchmark")

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_TROUBLE, _LACKING = 1, 3  # exit codes

_Command = Callable[..., Any]


def dataset_folder(text: str) -> tuple[str, Path]:
    """`NAME=DIR`, where DIR exists."""
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir():
        raise click.BadParameter(f"'{text}' is not NAME=DIR with a folder that exists.")
    return name, Path(folder)


def measuring_options(command: _Command) -> _Command:
    """How models are to be measured."""
    for option in (
        click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Per model and detector."),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--retry", is_flag=True, help="Measure anew what has failed."),
        click.option("--again", type=names, metavar="A,B", help="Measure these anew, though it has been done before."),
        click.option("--effort", type=click.Choice([e.value for e in Effort]), default="standard", show_default=True),
        click.option("--detectors", type=names, metavar="A,B", help="Only these detectors."),
    ):
        command = option(command)
    return command


def _conditions(options: Mapping[str, Any], images: Mapping[str, Path]) -> Conditions:
    lists = {key: options[key] or () for key in ("detectors", "again")}
    return Conditions(**{**options, **lists, "effort": Effort(options["effort"])}, images=images)


@click.command()
@click.argument("suite")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=OUT, show_default=True,
    help="Where models, images and measurements go.",
)  # fmt: skip
@source_options
@measuring_options
@click.option("--workers", type=click.IntRange(min=1), help="Models at a time. [default: one a core]")
@click.pass_context
def run(
    ctx: click.Context, /, suite: str, out: Path, forms: tuple[str, ...], data_root: Path | None, cache: Path | None,
    workers: int | None, **options: Any,
) -> None:  # fmt: skip
    """Makes what is missing of a suite and measures it, with 100 clean images and without; a run that was cut off goes
    on where it stopped.

    SUITE is the name of a suite that comes with bdscan, as smoke, or a TOML file. OUT/results.sqlite holds what was
    measured, OUT/zoo the models, OUT/images the images.

    Exit code 1: a model or a cell failed (--retry tries such cells again). Exit code 3: some models could not be tried.
    """
    sources = Sources.given(forms, root=data_root, cache=cache or out / ".cache")
    asked = Run(
        suite=suites.load(suite), out=out, sources=sources, conditions=_conditions(options, {}), workers=workers
    )
    ctx.exit(reported(asked))


def smoke() -> int:
    """What `bdscan benchmark` does; returns the exit code."""
    sources = Sources.given((), root=None, cache=OUT / ".cache")
    return reported(Run(suite=suites.load("smoke"), out=OUT, sources=sources, conditions=Conditions(images={})))


def reported(asked: Run) -> int:
    """Carries out a run, and says what the detectors found, here and in files beside the measurements."""
    from modelscan_bd.bench import report
    from modelscan_bd.bench.terminal import shown

    done = _finished(asked)
    click.echo(shown(done.results))
    for file in report.write(done.results, asked.out, suite=asked.suite.name):
        click.echo(file)
    return _told(asked, done)


def _finished(asked: Run) -> Finished:
    with interruptible(), Bars(MODELS, CELLS) as bars:
        return carry_out(asked, bars)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends in a sentence that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", remedy="The same command goes on where it stopped.") from None


def _told(asked: Run, done: Finished) -> int:
    """Says what came of a run; returns the exit code."""
    lament(done.impossible, names=True)
    models = len({result["model"] for result in done.results})
    click.echo(f"{asked.out / FILE}: {models} models, {counted(done.cells)}")
    if done.lost or done.cells[Failure.status]:
        return _TROUBLE
    return _LACKING if done.impossible else 0


@click.command()
@click.argument("zoo", type=_FOLDER)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="The file of measurements, as results.sqlite; what is in it stays.")  # fmt: skip
@click.option(
    "--data", "images", multiple=True, metavar="NAME=DIR", type=dataset_folder,
    help="Clean images of the dataset NAME; repeatable. Without any, the run is data-free.",
)  # fmt: skip
@measuring_options
@click.option("--images", "most_images", type=click.IntRange(min=1), default=100, show_default=True, help="At most.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True,
              help="Models at a time, each by one thread where there are several.")  # fmt: skip
def measure(zoo: Path, out: Path, images: tuple[tuple[str, Path], ...], workers: int, **options: Any) -> None:
    """Runs the detectors on every model in ZOO; what is done already is skipped, what was cut off goes on."""
    engine = Here() if workers == 1 else Processes(workers=workers, memory=share_of_memory(workers))
    with interruptible(), opened(out) as store, Bars(CELLS) as bars:
        jobs = plan(named(zoo), _conditions(options, dict(images)), store)
        tally = Tally(jobs)
        bars.expect(CELLS, tally.wanted, done=0)
        for cell in measured(jobs, store, engine):
            bars.step(CELLS, tally.count(cell))
    click.echo(f"{out}: {counted(tally.total())}" if jobs else f"{out}: all of it has been measured before")
