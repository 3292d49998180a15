"""Feeds every parser damaged and invented files, each in a process with 5 s of processor time and 1 GB of memory.

    python tests/fuzz.py [--seconds 60] [--only NAME ...] [--seed N] [--failures FOLDER]

Failures are exceptions other than BdscanError, too much time or memory, death, calls that run or unpickle something,
and a touched canary. They are made smaller and kept in FOLDER. The seed gives the same inputs again.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, final

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.parsers import PARSERS, Parser, chosen
from fuzzing.seeds import CANARY
from fuzzing.worker import Outcome, Worker

_BATCH: Final = 50  # invented files, then as many times four changed ones
_SLOW: Final = 1.0  # seconds from which on the costliest input is kept too
_KEPT: Final = 3  # failures of one cause
_TRIES: Final = 200  # at making a failure smaller
_PATIENCE: Final = 20.0  # seconds for that


@final
@dataclass
class Tally:
    """What became of one parser's inputs."""

    executions: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0  # of processor time, of the costliest input
    memory: int = 0  # bytes, of the greediest input

    def add(self, outcome: Outcome) -> None:
        self.executions += 1
        self.seconds, self.memory = max(self.seconds, outcome.seconds), max(self.memory, outcome.memory)
        if outcome.what:
            self.failures[outcome.what] += 1


def inputs(parser: Parser, seed: int) -> Iterator[bytes]:
    """The corpus as it is, then changed and invented files without end."""
    seeds, number = parser.seeds(True), 0
    yield from seeds
    while True:
        if parser.fresh is not None:
            yield from _invented(parser, seed + number)
        for _ in range(4 * _BATCH):
            number += 1
            yield parser.input(Random(f"{seed} {parser.name} {number}"), seeds)


def _invented(parser: Parser, seed: int) -> list[bytes]:
    found: list[bytes] = []
    few = settings(
        max_examples=_BATCH, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    hypothesis.seed(seed)(few(given(parser.fresh)(lambda data: found.append(data))))()
    return found


def fuzz(parser: Parser, seconds: float, seed: int, failures: Path) -> Tally:
    source = inputs(parser, seed)
    data = next(source)  # reads the corpora
    tally, worker, until = Tally(), Worker(parser.read, CANARY), time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            outcome = worker.run(data)
            if outcome.seconds > max(tally.seconds, _SLOW):
                failures.mkdir(parents=True, exist_ok=True)
                (failures / f"{parser.name}-{seed}-slowest.bin").write_bytes(data)
            tally.add(outcome)
            if outcome.what and tally.failures[outcome.what] <= _KEPT:
                _keep(smaller(data, outcome.what, worker), outcome, parser, tally, failures, seed)
            data = next(source)
    finally:
        worker.close()
    return tally


def smaller(data: bytes, what: str, worker: Worker) -> bytes:
    """What is left of an input once all is taken away that its failure does not need, within reason."""
    until, tries, size = time.monotonic() + _PATIENCE, 0, max(len(data) // 2, 1)
    while size:
        at = 0
        while at < len(data):
            tries += 1
            if tries > _TRIES or time.monotonic() > until:
                return data
            less = data[:at] + data[at + size :]
            if worker.run(less).what == what:
                data = less
            else:
                at += size
        size //= 2
    return data


def _keep(data: bytes, outcome: Outcome, parser: Parser, tally: Tally, failures: Path, seed: int) -> None:
    failures.mkdir(parents=True, exist_ok=True)
    stem = f"{parser.name}-{seed}-{tally.executions}"
    (failures / f"{stem}.bin").write_bytes(data)
    (failures / f"{stem}.txt").write_text(f"{outcome.what}\n\n{outcome.details}")
    print(f"  {stem}: {outcome.what}", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=60.0, help="for each parser")
    asked.add_argument("--only", nargs="+", default=[], choices=[parser.name for parser in PARSERS])
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder")
    options = asked.parse_args()
    warnings.simplefilter("ignore")  # of those who make the inputs
    failed = False
    print(
        "| parser | executions | seconds | failures | worst CPU seconds | worst memory, MB |\n|---|---|---|---|---|---|"
    )
    for parser in chosen(options.only):
        began = time.monotonic()
        tally = fuzz(parser, options.seconds, options.seed, options.failures)
        failed |= bool(tally.failures)
        cells = (
            *(parser.name, tally.executions, round(time.monotonic() - began), tally.failures.total()),
            *(f"{tally.seconds:.2f}", tally.memory // 2**20),
        )
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        for what, count in tally.failures.most_common():
            print(f"  {count} times: {what}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
