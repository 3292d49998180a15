"""Jobs here and in processes beside: the same results, and a worker that dies takes no more than its job with it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelscan_bd.bench.engine import Engine, Here, Lost, Processes

SOME = Processes(workers=2)


@pytest.mark.parametrize("engine", [Here(), SOME], ids=["here", "processes"])
def test_every_job_is_done_and_its_results_keep_their_order(engine: Engine) -> None:
    found: dict[str, str] = dict.fromkeys(("abc", "", "de", "f"), "")
    letters: Callable[[str], Iterator[str]] = iter
    for job, letter in engine.map(letters, list(found)):
        assert isinstance(letter, str)
        found[job] += letter
    assert found == {job: job for job in found}


def test_a_worker_that_dies_loses_its_job_alone() -> None:
    """`exit` leaves the process with the code that is its job."""
    leave: Callable[[int], Iterator[Any]] = os._exit  # type: ignore[assignment]
    found = dict(SOME.map(leave, [3, 4, 5]))
    assert set(found) == {3, 4, 5}
    for code, lost in found.items():
        assert isinstance(lost, Lost)
        assert f"ended with code {code}" in lost.reason


def test_what_a_job_raises_ends_them_all_and_leaves_no_process_behind() -> None:
    numbers: Callable[[Any], Iterator[Any]] = iter
    with pytest.raises(RuntimeError, match="TypeError: 'int' object is not iterable"):
        list(SOME.map(numbers, [1, "a", "b"]))
    assert not multiprocessing.active_children()


def test_whoever_stops_listening_stops_the_work() -> None:
    numbers: Callable[[range], Iterator[int]] = iter
    results = SOME.map(numbers, [range(10**12)])
    assert next(results) == (range(10**12), 0)
    assert multiprocessing.active_children()
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux alone")
def test_a_worker_gets_no_more_memory_than_its_share() -> None:
    zeros: Callable[[int], Iterator[int]] = bytearray  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="MemoryError"):
        next(Processes(workers=1, memory=2 << 30).map(zeros, [2 << 30]))
