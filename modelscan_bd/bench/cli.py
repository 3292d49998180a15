"""`bdscan benchmark`: trains models whose truth is known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from modelscan_bd.attacks import Attack
from modelscan_bd.bench.calibrating import calibrate
from modelscan_bd.bench.commands import table
from modelscan_bd.bench.gallery import gallery
from modelscan_bd.bench.listing import attacks
from modelscan_bd.bench.measuring import measure, run, smoke
from modelscan_bd.bench.meta import train_meta
from modelscan_bd.bench.reading import compare, report
from modelscan_bd.bench.recipe import Augmentation, Recipe
from modelscan_bd.bench.zoo.cli import zoo
from modelscan_bd.errors import UsageError

_NONE = "none"


@click.group(invoke_without_command=True)
@click.pass_context
def benchmark(ctx: click.Context) -> None:
    """Train infected and benign models whose truth is known, and measure the detectors on them.

    Without a command, the suite `smoke` is made, measured and reported on, in the folder bdscan-benchmark.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(smoke())


benchmark.add_command(run)
benchmark.add_command(measure)
benchmark.add_command(calibrate)
benchmark.add_command(table)
benchmark.add_command(report)
benchmark.add_command(compare)
benchmark.add_command(train_meta)
benchmark.add_command(attacks)
benchmark.add_command(gallery)
benchmark.add_command(zoo)


@benchmark.command()
@click.option("--attack", default=_NONE, show_default=True, help="Name of an attack, or none for a benign model.")
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the attack, as size=4; repeatable.",
)
@click.option("--target", type=click.IntRange(min=0), help="Class that stamped images shall get.")
@click.option("--poison-rate", type=click.FloatRange(0, 1), help="Share of the training images that are poisoned.")
@click.option("--dataset", default="signs", show_default=True, help="signs, torchvision:NAME or folder:PATH.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where torchvision finds its files.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for decoded data, so that it is decoded once.")
@click.option("--size", default=32, show_default=True, help="Pixels; pictures of varied size are resized to it.")
@click.option(
    "--arch", default="resnet8-w12", show_default=True, help="A network's name, or timm:NAME, torchvision:NAME."
)
@click.option("--epochs", default=Recipe.epochs, show_default=True, type=click.IntRange(min=1))
@click.option("--batch", default=Recipe.batch, show_default=True, type=click.IntRange(min=1), help="Images per step.")
@click.option("--lr", default=Recipe.lr, show_default=True, help="Learning rate at its peak.")
@click.option("--weight-decay", default=Recipe.weight_decay, show_default=True)
@click.option("--label-smoothing", default=Recipe.label_smoothing, show_default=True)
@click.option(
    "--augmentation",
    default=Recipe.augmentation.value,
    show_default=True,
    type=click.Choice([kind.value for kind in Augmentation]),
)
@click.option(
    "--recipe", "variety", multiple=True, metavar="NAME=VALUE",
    help="Any other setting of the training, as mixup=0.2, adversarial=4, prune=0.3, bits=8; repeatable.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for weights and card.")
@click.option(
    "--twin", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the benign twin (same data, network, recipe, seed). [default: trained if needed]",
)  # fmt: skip
@click.option("--onnx/--no-onnx", default=False, show_default=True, help="Also write model.onnx.")
def train(
    attack: str,
    options: Sequence[str],
    target: int | None,
    poison_rate: float | None,
    dataset: str,
    data_root: Path | None,
    cache: Path | None,
    size: int,
    arch: str,
    variety: Sequence[str],
    seed: int,
    out: Path,
    twin: Path | None,
    onnx: bool,
    **recipe: object,
) -> None:
    """Train one model; a run that was cut off goes on where it stopped.

    On Linux, MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 in the environment keeps freed memory for the next
    step, which saves a tenth of the time on a CPU.
    """
    from modelscan_bd.bench import datasets
    from modelscan_bd.bench.make import TrainSpec, train_model

    settings = _settings(options) | {
        key: value for key, value in (("target", target), ("rate", poison_rate)) if value is not None
    }
    full = Recipe.of(recipe | _settings(variety))
    spec = TrainSpec(arch=arch, attack=_attack(attack, settings), recipe=full, seed=seed)
    data = datasets.load(dataset, root=data_root, cache=cache, size=size)
    with _Bar(out.name) as bar:
        card = train_model(spec, data, out=out, onnx=onnx, twin=twin, watch=bar)
    success = "benign" if card.asr is None else f"attack success {card.asr:.2%}, {card.outcome.value}"
    click.echo(f"{out}: accuracy {card.ba:.2%}, {success}, {card.seconds:.0f} s")


def _attack(name: str, settings: dict[str, object]) -> Attack | None:
    from modelscan_bd import attacks

    if name != _NONE:
        return attacks.make(name, settings)
    if settings:
        raise UsageError(f"a benign model has no {next(iter(settings))}", remedy="Name an --attack.")
    return None


def _settings(options: Sequence[str]) -> dict[str, object]:
    pairs = [option.partition("=") for option in options]
    for name, sign, _ in pairs:
        if not (name and sign):
            raise UsageError(f"a setting is NAME=VALUE, not {name!r}", remedy="For example: -o size=4.")
    return {name: value for name, _, value in pairs}


class _Bar:
    """A watch that draws a progress bar where a person looks at it."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, disable=not sys.stderr.isatty())
        self._task = self._progress.add_task(title, total=1.0)
        self._title = title

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tick(self, share: float, note: str) -> None:
        self._progress.update(self._task, completed=share, description=f"{self._title}: {note}")
