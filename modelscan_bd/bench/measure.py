"""Every detector on every model: the cells that a store lacks, side by side, each kept as soon as it is measured.

The truth about a model stays with who hands out the jobs: a job names a model's file and a folder of clean images, and
a detector sees what it sees in any scan.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from modelscan_bd import __version__, preflight, registry, rulebook, schedule
from modelscan_bd.bench.card import FILE as CARD
from modelscan_bd.bench.engine import Engine, Lost
from modelscan_bd.bench.store import Cell, Setup, Store
from modelscan_bd.bench.truth import Known, known
from modelscan_bd.errors import CannotMeasure, UnreadableModel, UnsafeModel, UnsupportedModel, UsageError
from modelscan_bd.inspection import inspect_all
from modelscan_bd.measuring import prepare, traits
from modelscan_bd.settings import Settings
from modelscan_bd.shared import generator
from modelscan_bd.types import Effort, Evidence, Failure, Silent, Tier
from modelscan_bd.types import Outcome as Seen
from modelscan_bd.watch import Deadline

_NO_SUBJECT = (  # torch calls a lack of memory a RuntimeError
    UnsafeModel, UnsupportedModel, UnreadableModel, CannotMeasure, MemoryError, RuntimeError,
)  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How models are to be measured."""

    images: Mapping[str, Path]  # clean ones by the data set's name; empty for a data-free run
    detectors: tuple[str, ...] = ()  # empty: those that `effort` allows
    effort: Effort = Effort.STANDARD
    again: tuple[str, ...] = ()  # detectors that are measured anew where they have been measured before
    retry: bool = False  # whether cells that failed are measured anew
    most_images: int = 100
    seed: int = 0
    timeout: float | None = None  # seconds per cell

    @property
    def setup(self) -> Setup:
        return Setup(tier=Tier.IMAGES if self.images else Tier.NONE, images=self.most_images, seed=self.seed)

    def wanted(self) -> tuple[str, ...]:
        """The detectors, in the order in which a scan runs them."""
        plugins = registry.installed()
        chosen = schedule.plan(plugins, rulebook.load(), chosen=self.detectors, effort=self.effort)
        return tuple(detector.card.id for detector in chosen)


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """The cells of one model that are wanted. They share what is worked out on the model once."""

    model: str
    file: Path
    data: Path | None
    setup: Setup
    detectors: tuple[str, ...]
    timeout: float | None = None


def models(zoo: Path) -> list[Path]:
    """The folders of a zoo that hold a model, by name. Raises UsageError where there is none."""
    found = sorted(card.parent for card in zoo.rglob(CARD))
    if not found:
        raise UsageError(
            f"'{zoo}' holds no folder with {CARD}", remedy="Build a zoo first: bdscan benchmark zoo build."
        )
    return found


def named(zoo: Path) -> dict[str, Path]:
    """The models of a zoo by the names that they have in a store."""
    return {"_".join(folder.relative_to(zoo).parts): folder for folder in models(zoo)}


def plan(folders: Mapping[str, Path], conditions: Conditions, store: Store) -> list[Job]:
    """What the store lacks; it learns what the models are.

    Raises UsageError for a data set without images where others have some, and for a model that has changed.
    """
    facts = {name: known(folder) for name, folder in folders.items()}
    images = {name: _images(fact, conditions) for name, fact in facts.items()}
    return jobs(facts, images, conditions, conditions.setup, store)


def jobs(
    facts: Mapping[str, Known], images: Mapping[str, Path | None], conditions: Conditions, setup: Setup, store: Store
) -> list[Job]:
    """What the store lacks of these models under that setup; it learns what they are."""
    wanted, found = conditions.wanted(), []
    for name, fact in facts.items():
        store.enter(name, fact.sha256, fact.truth)
        done = {d for d, status in store.done(name, setup).items() if _counts(d, status, conditions)}
        missing = tuple(detector for detector in wanted if detector not in done)
        if missing:
            found.append(
                Job(
                    model=name,
                    file=fact.file,
                    data=images[name],
                    setup=setup,
                    detectors=missing,
                    timeout=conditions.timeout,
                )
            )
    return found


def _images(fact: Known, conditions: Conditions) -> Path | None:
    dataset = fact.truth["dataset"]
    if conditions.images and dataset not in conditions.images:
        raise UsageError(f"there are no images for the dataset '{dataset}'", remedy=f"Give --data {dataset}=DIR.")
    return conditions.images.get(dataset)


def _counts(detector: str, status: str, conditions: Conditions) -> bool:
    return detector not in conditions.again and not (conditions.retry and status == Failure.status)


def measure(jobs: Sequence[Job], store: Store, engine: Engine) -> Iterator[Cell]:
    """Each cell when it is in the store. One whose worker dies has failed; what it leaves undone is given out again."""
    todo = list(jobs)
    while todo:
        owed = {job: list(job.detectors) for job in todo}
        for job, found in engine.map(work, todo):
            if not owed[job]:
                continue  # lost when all was done
            cell = _cell(job, Failure(detector=owed[job][0], reason=found.reason)) if isinstance(found, Lost) else found
            owed[job].remove(cell.detector)
            store.add(cell)
            yield cell
        todo = [replace(job, detectors=tuple(rest)) for job, rest in owed.items() if rest]


# ---------------------------------------------------------------- one job


def work(job: Job) -> Iterator[Cell]:
    """Measures one model, detector by detector. Raises UsageError for images that cannot be used."""
    settings = Settings(model=str(job.file), data=job.data, images=job.setup.images, seed=job.setup.seed)
    try:
        subject = prepare(settings).subject
        checks = preflight.check(subject, rng=generator(settings.seed, "preflight"))
    except _NO_SUBJECT as error:
        for name in job.detectors:
            yield _cell(job, Failure(detector=name, reason=f"the model cannot be used: {error}"))
        return
    for detector in registry.select(job.detectors, registry.installed()):
        began = time.monotonic()
        watch = Deadline(inner=Silent(), ends=None if job.timeout is None else began + job.timeout)
        (outcome,) = inspect_all(subject, [detector], checks, seed=settings.seed, watch=watch)
        yield replace(_cell(job, outcome, seconds=time.monotonic() - began), traits=traits(subject))


def _cell(job: Job, seen: Seen, seconds: float | None = None) -> Cell:
    plain = Cell(
        model=job.model,
        detector=seen.detector,
        setup=job.setup,
        status=seen.status,
        seconds=None if seconds is None else round(seconds, 3),
        tool=f"bdscan {__version__}",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if not isinstance(seen, Evidence):
        return replace(plain, reason=seen.reason)
    return replace(plain, scores=seen.scores, top={name: _largest(values) for name, values in seen.per_class.items()})


def _largest(values: tuple[float, ...]) -> int:
    return max(range(len(values)), key=values.__getitem__)
