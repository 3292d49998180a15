"""A process that makes one model after another, and ends when its builder does."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias, final

import torch

from modelscan_bd.bench import export, stored
from modelscan_bd.bench.make import train_model
from modelscan_bd.bench.process import leave_with_parent
from modelscan_bd.bench.zoo import folder as folders
from modelscan_bd.bench.zoo.claim import claimed
from modelscan_bd.bench.zoo.entry import Entry, Facts
from modelscan_bd.bench.zoo.sources import Sources
from modelscan_bd.errors import BdscanError
from modelscan_bd.types import Watch


@final
@dataclass(frozen=True, kw_only=True)
class Order:
    """What all models of one build have in common."""

    out: Path
    sources: Sources
    datasets: Mapping[str, Facts]
    onnx: bool = False
    threads: int = 1  # of each worker
    started: float = 0.0  # seconds since 1970; failures from before are tried again


@dataclass(frozen=True)
class Tick:
    name: str
    share: float  # of the training that is under way, 0..1
    note: str


@dataclass(frozen=True)
class Done:
    name: str


@dataclass(frozen=True)
class Failed:
    name: str
    reason: str


@dataclass(frozen=True)
class Taken:
    """Another builder is at this model."""

    name: str


Event: TypeAlias = Tick | Done | Failed | Taken


def serve(pipe: Connection, order: Order) -> None:
    """Makes what the pipe brings, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the builder decides
    threading.Thread(target=leave_with_parent, daemon=True).start()  # the next builder waits for our locks
    torch.set_num_threads(order.threads)
    while True:
        try:
            entry = pipe.recv()
            pipe.send(make(entry, order, _Reporter(entry.name, pipe)))
        except (EOFError, OSError):
            return


def make(entry: Entry, order: Order, watch: Watch) -> Event:
    """One model, unless it is there already; a failure is written into its folder."""
    folder = order.out / entry.name
    with claimed(folder / folders.LOCK) as ours:
        if not ours:
            return Taken(entry.name)
        reason = folders.failure(folder, since=order.started)  # another builder's, just now
        if reason is None:
            reason = _attempt(entry, order, folder, watch)
    if reason is not None:
        return Failed(entry.name, reason)
    (folder / folders.LOCK).unlink(missing_ok=True)  # who waits for it finds the model complete
    return Done(entry.name)


def _attempt(entry: Entry, order: Order, folder: Path, watch: Watch) -> str | None:
    """The reason, if it came to nothing."""
    try:
        _build(entry, order, folder, watch)
    except Exception as error:  # noqa: BLE001 - one model's trouble is not the others'
        reason = str(error) if isinstance(error, BdscanError) else f"{type(error).__name__}: {error}"
        folders.fail(folder, reason, traceback.format_exc())
        return reason
    return None


def _build(entry: Entry, order: Order, folder: Path, watch: Watch) -> None:
    if not folders.complete(folder):
        folders.describe(folder, entry)
        watch.tick(0, "reading the data")
        data = order.sources.load(entry.dataset, order.datasets[entry.dataset].shape[1])
        twin = order.out / entry.twin.name if entry.attack else None
        train_model(entry.spec(), data, out=folder, onnx=order.onnx, twin=twin, watch=watch)
    elif order.onnx and not folders.complete(folder, onnx=True):
        model = stored.read(folder)
        export.write_onnx(model.net, model.card, folder / stored.ONNX)
    folders.seal(folder)


@final
@dataclass(frozen=True)
class _Reporter:
    """A watch at the other end of a pipe."""

    name: str
    pipe: Connection

    def tick(self, share: float, note: str) -> None:
        with suppress(OSError):  # the builder has gone, and so will this process
            self.pipe.send(Tick(self.name, share, note))
