"""`bdscan MODEL`: options → Settings → Report → files, a verdict on the terminal, and the exit code."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelscan_bd.cli.options import RANGES, names, numbers, report_file, size
from modelscan_bd.cli.root import DEBUG
from modelscan_bd.errors import UnreadableModel, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelscan_bd.inputs import Hints
    from modelscan_bd.results import Report
    from modelscan_bd.settings import Settings
    from modelscan_bd.watch import Watch


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.find_root().meta[DEBUG] = value


@click.command(hidden=True)
@click.argument("model")
@click.option(
    "--report",
    "reports",
    type=report_file,
    metavar="FILE",
    multiple=True,
    help="Write a report (.json, .md, .txt); repeatable. Recovered triggers go next to the first.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of clean images, or of one folder of them per class.",
)
@click.option(
    "--arch",
    metavar="NAME",
    help="The architecture of bare weights, where it cannot be told from their names and shapes.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The weights of a named architecture.",
)
@click.option(
    "--reference",
    metavar="PARENT",
    help="The model that this one is said to descend from, named like MODEL: its changes are looked at.",
)
@click.option(
    "--mean",
    type=numbers,
    metavar="A,B,C",
    help="Per channel, of pixels in [0, 1]: what the model expects to be subtracted.",
)
@click.option(
    "--std",
    type=numbers,
    metavar="A,B,C",
    help="Per channel, of pixels in [0, 1]: what the model expects to be divided by.",
)
@click.option("--input-size", type=size, metavar="SIZE", help="Height x width in pixels: 32, 28x32.")
@click.option(
    "--range",
    "span",
    type=click.Choice(list(RANGES)),
    help="The pixel values the model expects, before --mean and --std.",
)
@click.option("--detectors", type=names, metavar="A,B", help="Only these detectors; see `bdscan detectors`.")
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="How many detectors run: seconds, minutes, or all of them.",
)
@click.option(
    "--rules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of own rules (TOML); they add to the built-in ones and replace those of the same id.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed on the same machine gives the same report.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time to load and measure; what is not done by then is not examined.",
)
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="What measuring may take, on top of its libraries. [default: three quarters of the machine's]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["suspicious", "infected", "malicious"]),
    default="suspicious",
    show_default=True,
    help="The verdict from which the exit code is 1.",
)
@click.option("--allow-incomplete", is_flag=True, help="Exit with 0, not 3, where not everything could be examined.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_remember_debug,
    help="Show the trace of an internal error.",
)
@click.pass_context
def scan(ctx: click.Context, /, reports: tuple[Path, ...], quiet: bool, memory: float | None, **options: Any) -> None:
    """Scans one model."""
    from modelscan_bd import verdict
    from modelscan_bd.scan import scan as scan_model
    from modelscan_bd.scan import unread
    from modelscan_bd.supervision.resources import log_own
    from modelscan_bd.supervision.watchdog import Watchdog

    debug = bool(ctx.find_root().meta.get(DEBUG))
    if debug:
        log_own()
    signal.signal(signal.SIGTERM, _leave)
    settings, measure = _settings(**options), Watchdog(memory=int(memory * 2**30) if memory else None, debug=debug)
    try:
        with _progress(hidden=quiet) as watch:
            report = scan_model(settings, watch=watch, measure=measure)
    except UnreadableModel as error:
        _publish(unread(settings, error), reports, quiet=True)
        raise
    _publish(report, reports, quiet=quiet)
    ctx.exit(verdict.exit_code(report, fail_on=settings.fail_on, allow_incomplete=settings.allow_incomplete))


def _leave(number: int, _: object) -> None:
    """Not at once, as is usual: what was begun is to be cleared away."""
    raise SystemExit(128 + number)


def _settings(
    *, mean: Any, std: Any, input_size: Any, span: str | None, detectors: Any, effort: str, fail_on: str, **rest: Any
) -> Settings:
    from modelscan_bd.cards import Effort
    from modelscan_bd.results import Verdict
    from modelscan_bd.settings import Settings

    hints = _hints(mean, std, input_size, span)
    return Settings(hints=hints, detectors=detectors or (), effort=Effort(effort), fail_on=Verdict(fail_on), **rest)


def _hints(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, size: tuple[int, int] | None, span: str | None
) -> Hints:
    from modelscan_bd.inputs import Hints

    scale, centre = RANGES[span] if span else (None, None)
    if centre is not None:
        if mean or std:
            raise UsageError(f"--range {span} fixes mean and std", remedy="Leave out either it or --mean and --std.")
        mean = std = (centre,)
    return Hints(mean=mean, std=std, scale=scale, size=size)


def _publish(report: Report, files: tuple[Path, ...], *, quiet: bool) -> None:
    """Saves the pictures beside the first report, writes the reports, and prints the verdict."""
    from modelscan_bd.report import format_of, render
    from modelscan_bd.report.artefacts import folder_beside, save

    try:
        saved = save(report.evidence, folder_beside(files[0])) if files else {}
        for file in files:
            file.write_text(render(report, format_of(file), pictures=_relative(saved, file)), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error}") from error
    if not quiet:
        _show(report, {name: tuple(map(str, paths)) for name, paths in saved.items()})


def _relative(saved: dict[str, tuple[Path, ...]], report: Path) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(Path(os.path.relpath(path, report.parent)).as_posix() for path in paths)
        for name, paths in saved.items()
    }


def _show(report: Report, pictures: dict[str, tuple[str, ...]]) -> None:
    from rich.console import Console

    from modelscan_bd.report import render
    from modelscan_bd.report.text import view

    if sys.stdout.isatty():
        Console(highlight=False, emoji=False).print(view(report, pictures))
    else:
        click.echo(render(report, "text", pictures=pictures), nl=False)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Watch | None]:
    """A bar on stderr where somebody looks at it."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("reading the model", total=1.0)

        class Bar:
            def tick(self, share: float, note: str) -> None:
                bar.update(task, completed=share, description=note)

        yield Bar()
