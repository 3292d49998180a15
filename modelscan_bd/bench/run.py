"""A suite from end to end: its missing models are made, and its missing cells measured, with clean images and without.

`zoo/` holds the models, `images/` the clean images of each data set, and `results.sqlite` the measurements.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from modelscan_bd.bench import held_out, measure
from modelscan_bd.bench.engine import Processes
from modelscan_bd.bench.measure import Conditions, Job
from modelscan_bd.bench.process import cores, share_of_memory
from modelscan_bd.bench.progress import Bars, Tally
from modelscan_bd.bench.store import FILE, Result, Store, opened
from modelscan_bd.bench.zoo import builder, crew, index, show
from modelscan_bd.bench.zoo import folder as folders
from modelscan_bd.bench.zoo.claim import claimed
from modelscan_bd.bench.zoo.entry import Entry
from modelscan_bd.bench.zoo.sources import Sources
from modelscan_bd.bench.zoo.suite import Suite
from modelscan_bd.bench.zoo.worker import Failed, Order, Tick
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Tier

MODELS, CELLS = "models made", "cells measured"  # titles of the bars


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """What is to be done, and where. `conditions` are those of the data-free half."""

    suite: Suite
    out: Path
    sources: Sources
    conditions: Conditions
    workers: int | None = None  # at a time; None: as many as there are cores


@final
@dataclass(frozen=True, kw_only=True)
class Finished:
    """What came of a run and of those before it."""

    results: tuple[Result, ...]  # of the suite's models under the run's conditions
    cells: Counter[str]  # by status
    lost: tuple[str, ...]  # models that failed
    impossible: Mapping[str, str]  # models that could not be tried, and why


def carry_out(run: Run, bars: Bars) -> Finished:
    """Does what is missing. Raises UsageError where another run is at the same folder."""
    able = builder.plan(run.suite, run.sources)
    with claimed(run.out / ".lock") as ours, opened(run.out / FILE) as store:
        if not ours:
            raise UsageError(f"another run is at work in '{run.out}'", remedy="Wait for it, or give another --out.")
        _foresee(run, able.entries, store, bars)
        lost = tuple(_make(run, able.entries, bars))
        made = [entry for entry in able.entries if folders.complete(_zoo(run) / entry.name)]
        _measure(run, _jobs(run, made, store), len(made), store, bars)
        results = _results(run, made, store)
    statuses = Counter(status for result in results for status in result["status"].values())
    return Finished(results=results, cells=statuses, lost=lost, impossible=able.impossible)


def _zoo(run: Run) -> Path:
    return run.out / "zoo"


# ---------------------------------------------------------------- models


def _make(run: Run, entries: Sequence[Entry], bars: Bars) -> Iterator[str]:
    """Builds what is missing; yields the names of those that fail."""
    todo = [entry for entry in entries if not folders.finished(_zoo(run) / entry.name)]
    workers = run.workers or crew.usual_size()
    order = Order(
        out=_zoo(run), sources=run.sources, datasets=run.suite.datasets, threads=crew.threads_each(workers),
        started=time.time(),
    )  # fmt: skip
    _zoo(run).mkdir(parents=True, exist_ok=True)
    for event in builder.build(todo, order, workers=workers):
        if not isinstance(event, Tick):
            bars.step(MODELS, show.sentence(index.row(_zoo(run) / event.name)))
            if isinstance(event, Failed):
                yield event.name
    index.write(_zoo(run))


# ---------------------------------------------------------------- cells


def _foresee(run: Run, entries: Sequence[Entry], store: Store, bars: Bars) -> None:
    """Sets the bars by what is there already."""
    wanted = set(run.conditions.wanted())
    setups = [replace(run.conditions.setup, tier=tier) for tier in Tier]
    cells = sum(len(wanted & set(store.done(entry.name, setup))) for entry in entries for setup in setups)
    models = sum(folders.finished(_zoo(run) / entry.name) for entry in entries)
    bars.expect(MODELS, len(entries), done=models)
    bars.expect(CELLS, len(setups) * len(entries) * len(wanted), done=cells)


def _jobs(run: Run, made: Sequence[Entry], store: Store) -> list[Job]:
    """The missing cells, those with images first."""
    places = {entry.name: _zoo(run) / entry.name for entry in made}
    images = {name: _images(run, name) for name in dict.fromkeys(entry.dataset for entry in made)}
    halves = [replace(run.conditions, images=images), run.conditions]
    return [job for half in halves for job in measure.plan(places, half, store)]


def _images(run: Run, dataset: str) -> Path:
    """Clean test images of a data set, which none of the models has seen."""
    conditions, size = run.conditions, run.suite.datasets[dataset].shape[1]
    folder = run.out / "images" / f"{dataset}-{conditions.most_images}-s{conditions.seed}"
    if not folder.is_dir():
        data = run.sources.load(dataset, size)
        held_out.write(data, folder, count=conditions.most_images, seed=conditions.seed)
    return folder


def _measure(run: Run, jobs: Sequence[Job], made: int, store: Store, bars: Bars) -> None:
    tally = Tally(jobs)
    cells = len(Tier) * made * len(run.conditions.wanted())
    bars.expect(CELLS, cells, done=cells - tally.wanted)
    workers = run.workers or cores()
    engine = Processes(workers=workers, memory=share_of_memory(workers))
    for cell in measure.measure(jobs, store, engine):
        bars.step(CELLS, tally.count(cell))


def _results(run: Run, made: Sequence[Entry], store: Store) -> tuple[Result, ...]:
    names = {entry.name for entry in made}
    return tuple(r for r in store.results() if r["model"] in names and r["seed"] == run.conditions.seed)
