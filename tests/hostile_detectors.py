"""Detectors that misbehave, as an installed package would offer them: for the process that they run in to bear."""

# ruff: noqa: ARG002 - a detector that measures nothing still has the signature of one
from __future__ import annotations

import os
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from modelscan_bd.types import Card, Cost, Evidence, Subject, Watch


def card(name: str, *scores: str) -> Card:
    told = dict.fromkeys(scores or ("x",), "1 where it got through")
    return Card(id=name, title=name, paper="", cost=Cost.INSTANT, scores=told, sees="", blind_to="")


@dataclass(frozen=True, kw_only=True)
class Fine:
    card: ClassVar[Card] = card("a-fine")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        watch.tick(0.5, "half of it")
        picture = torch.linspace(0, 1, 27).reshape(3, 3, 3).requires_grad_()
        return Evidence(detector=self.card.id, scores={"x": 1.5}, artefacts={"mask": picture})


@dataclass(frozen=True, kw_only=True)
class Hoards:
    """Asks for memory without end; that it is never used makes no difference to a limit on addresses."""

    card: ClassVar[Card] = card("b-hoards")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        held = []
        while True:
            held.append(bytearray(2**28))


@dataclass(frozen=True, kw_only=True)
class Reaches:
    """For the network, for the folder that the environment calls home, and for a password in it."""

    card: ClassVar[Card] = card("c-reaches", "network", "file", "folder", "password")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        home = Path(os.environ["HOME"])
        attempts = {
            "network": lambda: socket.create_server(("127.0.0.1", 0)).close(),
            "file": lambda: (home / "there").write_text("changed", encoding="utf-8"),
            "folder": lambda: (home / "new").mkdir(),
        }
        scores = {name: worked(attempt) for name, attempt in attempts.items()}
        return Evidence(
            detector=self.card.id, scores=scores | {"password": float("AWS_SECRET_ACCESS_KEY" in os.environ)}
        )


def worked(attempt: Any) -> float:
    try:
        attempt()
    except OSError:
        return 0.0
    return 1.0


@dataclass(frozen=True, kw_only=True)
class Hangs:
    """Says where it is, and never comes back."""

    card: ClassVar[Card] = card("d-hangs")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        (Path(tempfile.gettempdir()) / "process").write_text(f"{os.getpid()}\n", encoding="ascii")
        while True:
            pass


@dataclass(frozen=True, kw_only=True)
class Dies:
    card: ClassVar[Card] = card("d-dies")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True, kw_only=True)
class Late(Fine):
    card: ClassVar[Card] = card("e-late")
