"""The worker processes of one builder: started when there is work for them, replaced when one dies."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import final

import torch

from modelscan_bd.bench.process import cores, environment
from modelscan_bd.bench.process import surroundings as usual
from modelscan_bd.bench.zoo import folder as folders
from modelscan_bd.bench.zoo.entry import Entry
from modelscan_bd.bench.zoo.worker import Event, Failed, Order, Tick, serve

_PER_GPU = 4  # workers; one small network does not fill a device
_PATIENCE = 5.0  # seconds until a worker that shall stop is killed
_BEAT = 0.3  # seconds without news


def usual_size() -> int:
    """How many workers there should be: one for each core, or some for each GPU."""
    gpus = torch.cuda.device_count()
    return min(cores(), _PER_GPU * gpus) if gpus else cores()


def threads_each(workers: int) -> int:
    return max(1, cores() // workers)


@final
class Crew:
    """Up to `size` workers."""

    def __init__(self, order: Order, size: int) -> None:
        self._order, self._size = order, size
        self._hands: list[_Hand] = []

    @property
    def busy(self) -> tuple[str, ...]:
        return tuple(hand.entry.name for hand in self._hands if hand.entry)

    @property
    def free(self) -> int:
        return self._size - len(self.busy)

    def give(self, entry: Entry) -> None:
        idle = next((hand for hand in self._hands if hand.entry is None), None)
        if idle is None:
            taken = {hand.number for hand in self._hands}
            idle = _Hand(min(set(range(self._size)) - taken), self._order)
            self._hands.append(idle)
        idle.give(entry)

    def news(self) -> Iterator[Event]:
        """What the workers have said since; waits a little if they have said nothing."""
        for ready in wait([hand.pipe for hand in self._hands], timeout=_BEAT):
            hand = next(hand for hand in self._hands if hand.pipe is ready)
            event = hand.hear()
            if event is not None:
                yield event
            if not hand.alive:
                self._hands.remove(hand)

    def stop(self) -> None:
        """At once: what is half done goes on at its last whole epoch another time."""
        for hand in self._hands:
            hand.process.terminate()
        for hand in self._hands:
            hand.process.join(_PATIENCE)
            hand.process.kill()
        self._hands.clear()


@final
class _Hand:
    """One worker process, and what it is at."""

    def __init__(self, number: int, order: Order) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take locks and threads along
        self.pipe, theirs = context.Pipe()
        self.number, self.entry, self.alive, self._order = number, None, True, order
        self.process = context.Process(target=serve, args=(theirs, order), daemon=True)
        with environment(_surroundings(number, order.threads)):
            self.process.start()
        theirs.close()

    pipe: Connection
    entry: Entry | None

    def give(self, entry: Entry) -> None:
        self.entry = entry
        with suppress(OSError):  # it has died: `hear` says so
            self.pipe.send(entry)

    def hear(self) -> Event | None:
        entry = self.entry
        try:
            event: Event = self.pipe.recv()
        except (EOFError, OSError):
            return self._died(entry)
        if not isinstance(event, Tick):
            self.entry = None
        return event

    def _died(self, entry: Entry | None) -> Event | None:
        self.process.join(_PATIENCE)
        self.alive, self.entry = False, None
        if entry is None:
            return None
        reason = f"its process ended with code {self.process.exitcode}; it may have had too little memory"
        folders.fail(self._order.out / entry.name, reason)
        return Failed(entry.name, reason)


def _surroundings(number: int, threads: int) -> dict[str, str]:
    """The environment of a worker, with its GPU if there are several."""
    found = usual(threads)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    devices = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    if len(devices) > 1:
        found["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return found
