"""Who carries out jobs: this process, or several beside it. A cluster's scheduler would be one more engine."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar, final, runtime_checkable

import torch

from modelscan_bd.bench.process import bound_memory, environment, leave_with_parent, surroundings
from modelscan_bd.errors import BdscanError

_PATIENCE = 5.0  # seconds until a worker that shall stop is killed

J = TypeVar("J")
R = TypeVar("R")


@final
@dataclass(frozen=True)
class Lost:
    """A job ended before its work did: its worker died."""

    reason: str


@runtime_checkable
class Engine(Protocol):
    """Needs work and jobs that can be sent elsewhere (pickled), and keeps nothing."""

    def map(self, work: Callable[[J], Iterator[R]], jobs: Sequence[J]) -> Iterator[tuple[J, R | Lost]]:
        """What `work` yields for each job, as soon as it does; those of one job in their order.

        What `work` raises is raised here, and ends all jobs; so does closing the iterator.
        """
        ...


@final
@dataclass(frozen=True)
class Here:
    """One job after another in this process."""

    def map(self, work: Callable[[J], Iterator[R]], jobs: Sequence[J]) -> Iterator[tuple[J, R | Lost]]:
        for job in jobs:
            for result in work(job):
                yield job, result


@final
@dataclass(frozen=True, kw_only=True)
class Processes:
    """So many jobs at a time, each in a process of its own with one thread and so much memory."""

    workers: int
    memory: int | None = None  # bytes each; None: no bound

    def map(self, work: Callable[[J], Iterator[R]], jobs: Sequence[J]) -> Iterator[tuple[J, R | Lost]]:
        waiting, crew = deque(jobs), list[_Worker]()
        try:
            while waiting or any(worker.busy for worker in crew):
                while waiting and (free := self._free(crew, work)):
                    free.give(waiting.popleft())
                for ready in wait([worker.pipe for worker in crew if worker.busy]):
                    worker = next(worker for worker in crew if worker.pipe is ready)
                    yield from worker.news()
                crew = [worker for worker in crew if worker.alive]
        finally:
            for worker in crew:
                worker.process.terminate()
            for worker in crew:
                worker.stop()

    def _free(self, crew: list[_Worker], work: Callable[[J], Iterator[R]]) -> _Worker | None:
        """A worker without a job; a new one where there may be one more."""
        idle = next((worker for worker in crew if not worker.busy), None)
        if idle is None and len(crew) < self.workers:
            idle = _Worker(work, self.memory)
            crew.append(idle)
        return idle


@final
class _Worker:
    """A process, and the job it is at."""

    def __init__(self, work: Callable[[Any], Iterator[Any]], memory: int | None) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take locks and threads along
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, memory), daemon=True)
        with environment(surroundings(threads=1)):
            self.process.start()
        theirs.close()
        self.alive, self.busy, self._job = True, False, None

    pipe: Connection
    _job: Any

    def give(self, job: object) -> None:
        self._job, self.busy = job, True
        with suppress(OSError):  # it has died: `news` says so
            self.pipe.send(job)

    def news(self) -> Iterator[tuple[Any, Any]]:
        """What it has said, or that it is dead."""
        try:
            said = self.pipe.recv()
        except (EOFError, OSError):
            self.stop()
            self.alive = self.busy = False
            code = self.process.exitcode
            yield self._job, Lost(f"its process ended with code {code}; it may have had too little memory")
            return
        if isinstance(said, _Raised):
            raise said.error
        if isinstance(said, _Result):
            yield self._job, said.value
        else:
            self.busy = False

    def stop(self) -> None:
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()


# ---------------------------------------------------------------- at the other end of the pipe


@dataclass(frozen=True)
class _Result:
    value: Any


@dataclass(frozen=True)
class _Raised:
    error: Exception


class _End:
    """Of a job."""


def _serve(pipe: Connection, work: Callable[[Any], Iterator[Any]], memory: int | None) -> None:
    """Carries out what the pipe brings, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides
    threading.Thread(target=leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    bound_memory(memory)
    with suppress(EOFError, OSError):
        while True:
            _carry_out(pipe, work, pipe.recv())


def _carry_out(pipe: Connection, work: Callable[[Any], Iterator[Any]], job: object) -> None:
    try:
        for result in work(job):
            pipe.send(_Result(result))
    except BdscanError as error:
        pipe.send(_Raised(error))
    except Exception as error:  # noqa: BLE001 - not every exception can be sent, and none may pass for a lost worker
        pipe.send(_Raised(RuntimeError(f"{type(error).__name__}: {error}")))
    pipe.send(_End())
