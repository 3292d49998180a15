"""`bdscan benchmark zoo`: plan, build, list and verify."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_TROUBLE, _LACKING = 1, 3  # exit codes

_Command = Callable[..., Any]


def source_options(command: _Command) -> _Command:
    """The options that say where data sets are."""
    for option in (
        click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Folder for decoded data."),
        click.option("--data-root", type=click.Path(path_type=Path), help="Where torchvision finds its files."),
        click.option("--data", "forms", multiple=True, metavar="NAME=FORM",
                     help="Where a data set of the suite is: folder:PATH or torchvision:NAME; repeatable."),
    ):  # fmt: skip
        command = option(command)
    return command


_speed = click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), metavar="GMAC/S",
    help="Thousand millions of multiply-adds a second, all workers together. [default: 100, two CPU cores]",
)  # fmt: skip


@click.group()
def zoo() -> None:
    """Many models of known truth from one table.

    SUITE is the name of a suite that comes with bdscan (smoke, cpu, standard, paper) or a TOML file.
    """


@zoo.command()
@click.argument("suite")
@source_options
@_speed
@click.option("--scan-seeds", type=click.IntRange(min=1), default=1, show_default=True, help="To count experiments.")
@click.option("--names", is_flag=True, help="List every model.")
def plan(
    suite: str, forms: tuple[str, ...], data_root: Path | None, cache: Path | None, speed: float | None,
    scan_seeds: int, names: bool,
) -> None:  # fmt: skip
    """Say what a suite asks for and about how long it takes; build nothing."""
    from modelscan_bd.bench.zoo import cost, show
    from modelscan_bd.bench.zoo import suite as suites
    from modelscan_bd.bench.zoo.builder import plan as planned
    from modelscan_bd.bench.zoo.sources import Sources
    from modelscan_bd.registry import installed

    asked = suites.load(suite)
    able = planned(asked, Sources.given(forms, root=data_root, cache=cache))
    benign = sum(entry.attack is None for entry in asked.entries)
    click.echo(f"{asked.name}: {asked.about}".rstrip(": "))
    click.echo(f"{len(asked.entries)} models: {len(asked.entries) - benign} infected, {benign} benign")
    for line in show.tally(asked.entries):
        click.echo(f"  {line}")
    hours = cost.hours(asked.entries, asked.datasets, speed=speed or cost.SPEED)
    click.echo(f"about {hours:.1f} hours of training at {speed or cost.SPEED:g} GMAC/s")
    scans = len(asked.entries) * len(installed()) * scan_seeds
    click.echo(f"{len(asked.entries)} models x {len(installed())} detectors x {scan_seeds} seeds = {scans} experiments")
    if names:
        for entry in asked.entries:
            click.echo(f"  {entry.name}")
    lament(able.impossible, names=names)


@zoo.command()
@click.argument("suite")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The zoo's folder.")
@source_options
@click.option("--workers", type=click.IntRange(min=1), help="Models at a time. [default: one a core, or four a GPU]")
@click.option("--onnx", is_flag=True, help="Also write model.onnx.")
@click.pass_context
def build(
    ctx: click.Context, suite: str, out: Path, forms: tuple[str, ...], data_root: Path | None, cache: Path | None,
    workers: int | None, onnx: bool,
) -> None:  # fmt: skip
    """Make what is missing of a suite; what was cut off goes on where it stopped.

    Decoded data are kept in OUT/.cache, or in --cache. Exit code 1: a model failed (its folder says why; the next
    build tries again). Exit code 3: some models could not be tried, for want of data or of an attack.
    """
    from modelscan_bd.bench.zoo import builder, crew
    from modelscan_bd.bench.zoo import suite as suites
    from modelscan_bd.bench.zoo.sources import Sources
    from modelscan_bd.bench.zoo.worker import Order

    asked = suites.load(suite)
    sources = Sources.given(forms, root=data_root, cache=cache or out / ".cache")
    able = builder.plan(asked, sources)
    size = workers or crew.usual_size()
    order = Order(
        out=out, sources=sources, datasets=asked.datasets, onnx=onnx,
        threads=crew.threads_each(size), started=time.time(),
    )  # fmt: skip
    failures = _make(able.entries, order, size)
    lament(able.impossible, names=True)
    click.echo(_counted(out))
    ctx.exit(_TROUBLE if failures else _LACKING if able.impossible else 0)


def _make(entries: Any, order: Any, size: int) -> int:
    """Builds, shows and keeps the index up to date; returns how many models failed."""
    from modelscan_bd.bench.zoo import builder, cost, index, show
    from modelscan_bd.bench.zoo import folder as folders
    from modelscan_bd.bench.zoo.worker import Failed, Tick

    todo = [entry for entry in entries if not folders.finished(order.out / entry.name, onnx=order.onnx)]
    work = {entry.name: cost.work(entry, order.datasets[entry.dataset]) for entry in todo}
    order.out.mkdir(parents=True, exist_ok=True)
    failures = 0
    with show.Display(work, before=len(entries) - len(todo)) as display:
        for event in builder.build(todo, order, workers=size):
            if isinstance(event, Tick):
                display.show(event)
                continue
            failures += isinstance(event, Failed)
            index.write(order.out)
            display.show(event, show.sentence(index.row(order.out / event.name)))
    index.write(order.out)
    return failures


@zoo.command("list")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="All that is known, as JSON.")
def list_(folder: Path, as_json: bool) -> None:
    """Print the models of a zoo, and how many there are of each outcome."""
    from modelscan_bd.bench.zoo import index, show

    rows = index.rows(folder)
    if as_json:
        click.echo(json.dumps({"schema": index.SCHEMA, "counts": index.counts(rows), "models": rows}, indent=2))
        return
    click.echo(show.table(rows))
    click.echo(_counted(folder))


@zoo.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@source_options
@click.option("--tolerance", type=click.FloatRange(0, 1), default=0.005, show_default=True,
              help="Share of the test images by which a reading may differ; one image always may.")  # fmt: skip
@click.pass_context
def verify(
    ctx: click.Context, folder: Path, forms: tuple[str, ...], data_root: Path | None, cache: Path | None,
    tolerance: float,
) -> None:  # fmt: skip
    """Read every model of a zoo back, measure it again and compare it with its card.

    Exit code 1: a model is not what its card says. Exit code 3: some could not be measured, for want of data.
    """
    from modelscan_bd.bench.zoo import folder as folders
    from modelscan_bd.bench.zoo import index
    from modelscan_bd.bench.zoo.sources import Sources
    from modelscan_bd.bench.zoo.verify import verify as verified

    sources = Sources.given(forms, root=data_root, cache=cache or folder / ".cache")
    found: Counter[str] = Counter()
    for row in index.rows(folder):
        model = folder / row["name"]
        if not folders.complete(model):
            continue
        reason = sources.missing(row["dataset"])
        if reason:
            found["not verified"] += 1
            click.echo(f"{row['name']}: not verified, {reason}")
            continue
        result = verified(model, sources.load(row["dataset"], row["size"]), tolerance=tolerance)
        found["wrong" if result.complaints else "right"] += 1
        click.echo(f"{row['name']}: {'; '.join(result.complaints) or 'right'}")
    click.echo(_sums(found))
    ctx.exit(_TROUBLE if found["wrong"] else _LACKING if found["not verified"] else 0)


def _counted(folder: Path) -> str:
    from modelscan_bd.bench.zoo import index

    return _sums(index.counts(index.rows(folder)))


def _sums(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values())} models" + "".join(f", {n} {what}" for what, n in counts.items())


def lament(impossible: Mapping[str, str], *, names: bool) -> None:
    """Says what cannot be built: each reason once, with the models if they are wanted."""
    for reason, count in Counter(impossible.values()).items():
        click.echo(f"{count} models cannot be built: {reason}")
        for name in sorted(name for name, own in impossible.items() if names and own == reason):
            click.echo(f"  {name}")
