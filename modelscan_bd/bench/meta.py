"""`bdscan benchmark train-meta`: trains the meta-classifiers `ulp` and `mntd`, and says how far they carry."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from modelscan_bd import litmus
from modelscan_bd.bench.meta_training import BATCH, STEPS, Example, Kind, Split, examples, learn, split
from modelscan_bd.litmus import LitmusTest
from modelscan_bd.stats import auroc, bootstrap

_FEWEST = 2  # models of each side that a figure is made of
_ROUNDS = 1000  # of the bootstrap


@final
@dataclass(frozen=True, kw_only=True)
class Figure:
    """How well a score tells infected models from benign ones, with its 95 % bootstrap interval."""

    score: str
    models: str
    benign: int
    infected: int
    auroc: float
    interval: tuple[float, float]


def figures(tests: Mapping[str, LitmusTest], parts: Split, *, seed: int) -> list[Figure]:
    """One for what was trained on, one for all that was held out, and one for each held-out architecture and attack.

    A held-out attack is compared with all benign models that were held out. Groups with a single model of a side, or
    none, are left out.
    """
    found = []
    for name, test in tests.items():
        groups = {"trained on": _scored(test, parts.train), "held out": _scored(test, parts.held_out)}
        held = groups["held out"]
        for arch in sorted({example.card.arch for example, _ in held}):
            groups[f"held out: {arch}"] = [one for one in held if one[0].card.arch == arch]
        for attack in sorted({example.card.attack for example, _ in held if example.card.attack}):
            groups[f"held out: {attack}"] = [one for one in held if one[0].card.attack in (None, attack)]
        found += [figure for title, group in groups.items() for figure in _figure(name, title, group, seed)]
    return found


def _scored(test: LitmusTest, group: Sequence[Example]) -> list[tuple[Example, float]]:
    with torch.no_grad():
        return [(example, float(test(example.classifier).amax())) for example in group]


def _figure(name: str, title: str, group: Sequence[tuple[Example, float]], seed: int) -> Iterator[Figure]:
    benign, infected = ([score for example, score in group if example.infected is side] for side in (False, True))
    if min(len(benign), len(infected)) >= _FEWEST:
        interval = bootstrap(auroc, benign, infected, rng=np.random.default_rng(seed), rounds=_ROUNDS)
        yield Figure(
            score=name, models=title, benign=len(benign), infected=len(infected),
            auroc=auroc(benign, infected), interval=interval,
        )  # fmt: skip


def facts(parts: Split, trained_on: Sequence[Example], made: Sequence[Figure], settings: Mapping[str, object]) -> str:
    """What a file says of itself, as JSON. The figures are of a training on `parts`, the weights of `trained_on`."""
    said = {
        "date": datetime.now(UTC).date().isoformat(),
        "settings": dict(settings),
        "models": sorted(example.card.name for example in trained_on),
        "trained_on": _contents(trained_on),
        "figures_trained_on": _contents(parts.train),
        "figures_held_out": _contents(parts.held_out),
        "figures": [asdict(figure) for figure in made],
    }
    return json.dumps(said, indent=1)


def _contents(group: Sequence[Example]) -> dict[str, dict[str, int]]:
    """How many models of each data set, architecture and attack."""
    return {
        key: dict(sorted(Counter(str(getattr(example.card, key) or "benign") for example in group).items()))
        for key in ("dataset", "arch", "attack")
    }


# ---------------------------------------------------------------- the command


@click.command(name="train-meta")
@click.option("--zoo", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The models.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where the weights go.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in Kind]),
    help="Repeatable. [default: both]",
)
@click.option("--dataset", "datasets", multiple=True, help="Only models of this data set; repeatable.")
@click.option("--hold-out-arch", "archs", multiple=True, help="Test on this architecture, not train; repeatable.")
@click.option("--hold-out-attack", "attacks", multiple=True, help="Test on this attack, not train; repeatable.")
@click.option("--refit", is_flag=True, help="Write a second training, on all models, with the figures of the first.")
@click.option("--steps", default=STEPS, show_default=True, type=click.IntRange(min=1), help=f"Of {BATCH} models each.")
@click.option("--seed", default=0, show_default=True)
def train_meta(
    zoo: Path, out: Path, kinds: tuple[str, ...], datasets: tuple[str, ...], archs: tuple[str, ...],
    attacks: tuple[str, ...], refit: bool, steps: int, seed: int,
) -> None:  # fmt: skip
    """Train the meta-classifiers `ulp` and `mntd` on the models of a zoo whose truth is known; weak ones are skipped.

    A file that this writes is given to a detector as its setting `weights`.
    """
    settings = {
        "datasets": datasets, "hold_out_arch": archs, "hold_out_attack": attacks, "refit": refit, "steps": steps,
        "seed": seed,
    }  # fmt: skip
    with _progress() as progress:
        found = list(progress.track(examples(zoo, datasets), description="models"))
        parts = split(found, archs=archs, attacks=attacks, seed=seed)
        results = {}
        for kind in map(Kind, kinds or list(Kind)):
            tests = learn(kind, parts.train, steps=steps, seed=seed, watch=_Bar(progress, kind))
            made = figures(tests, parts, seed=seed)
            if refit:
                tests = learn(kind, found, steps=steps, seed=seed, watch=_Bar(progress, f"{kind}, all models"))
            results[kind] = tests, made
    trained_on = found if refit else parts.train
    out.mkdir(parents=True, exist_ok=True)
    for kind, (tests, made) in results.items():
        litmus.save(tests, out / f"{kind}.safetensors", facts=facts(parts, trained_on, made, settings))
        click.echo(f"{out / kind}.safetensors, trained on {len(trained_on)} of {len(found)} models")
        for one in made:
            low, high = one.interval
            click.echo(
                f"  {one.score}, {one.models}: AUROC {one.auroc:.2f} ({low:.2f} to {high:.2f}), "
                f"{one.benign} benign, {one.infected} infected"
            )


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())


@final
class _Bar:
    """A watch that draws one line of a rich progress."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._task = progress, progress.add_task(title, total=1.0)

    def tick(self, share: float, note: str) -> None:  # noqa: ARG002
        self._progress.update(self._task, completed=share)
