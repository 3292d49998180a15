"""What a person sees of many cells being measured: bars, and a line for each model that is done."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from modelscan_bd.bench.measure import Job
from modelscan_bd.bench.store import Cell
from modelscan_bd.types import Evidence, Failure, Skipped

_STATUSES = (Evidence.status, Skipped.status, Failure.status)


@final
class Bars:
    """One for each title, where a person looks at them; elsewhere the lines alone."""

    def __init__(self, *titles: str) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=self._console, disable=not sys.stderr.isatty(), speed_estimate_period=900,
        )  # fmt: skip
        self._tasks = {title: self._progress.add_task(title, total=None) for title in titles}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def expect(self, title: str, total: int, *, done: int) -> None:
        self._progress.update(self._tasks[title], total=total, completed=done)

    def step(self, title: str, line: str = "") -> None:
        """One more is done; `line` is what is said of it."""
        self._progress.advance(self._tasks[title])
        if line:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@final
class Tally:
    """Counts what came of cells, and knows when a model's last one is in."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._owed = {(job.model, job.setup.tier): len(job.detectors) for job in jobs}
        self._seen: dict[tuple[str, str], Counter[str]] = {key: Counter() for key in self._owed}
        self.wanted = sum(self._owed.values())

    def count(self, cell: Cell) -> str:
        """A sentence on the cell's model if this was its last, or on the cell if it failed."""
        key = cell.model, cell.setup.tier
        self._seen[key][cell.status] += 1
        what = f"{cell.model} ({'with images' if key[1] == 'images' else 'without images'})"
        lines = [f"{what}: {cell.detector} failed, {cell.reason}"] if cell.status == Failure.status else []
        if self._seen[key].total() == self._owed[key]:
            lines.append(f"{what}: {counted(self._seen[key])}")
        return "\n".join(lines)

    def total(self) -> Counter[str]:
        return sum(self._seen.values(), Counter())


def counted(cells: Mapping[str, int]) -> str:
    """`12 cells: 10 measured, 1 skipped, 1 failed`."""
    names = ("measured", "skipped", "failed")
    parts = [f"{cells.get(status, 0)} {name}" for status, name in zip(_STATUSES, names, strict=True)]
    return f"{sum(cells.values())} cells: {', '.join(parts)}"
