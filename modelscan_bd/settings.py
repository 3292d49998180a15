"""What a scan was asked to do: one frozen noun, made once from the command line and never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from modelscan_bd.cards import Effort
from modelscan_bd.inputs import Hints
from modelscan_bd.results import Verdict


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can change a report. `shown` is what the report repeats of it."""

    model: str  # a path, or `timm:NAME`, `torchvision:NAME`
    arch: str | None = None
    weights: Path | None = None  # for a named architecture
    reference: str | None = None  # the model that it is said to descend from; named like `model`
    data: Path | None = None  # a folder of clean images
    hints: Hints = field(default_factory=Hints)  # what the flags say of the expected input
    detectors: tuple[str, ...] = ()  # ids; empty means those that `effort` allows
    effort: Effort = Effort.STANDARD
    images: int = 128  # how many to look through at most
    rules: Path | None = None  # a folder of own rules, on top of the built-in ones
    seed: int = 0
    timeout: float | None = None  # seconds for all detectors together
    fail_on: Verdict = Verdict.SUSPICIOUS
    allow_incomplete: bool = False

    def shown(self) -> dict[str, object]:
        """The settings as plain values, for a report; silence is left out of the hints."""
        return {
            "arch": self.arch,
            "weights": _text(self.weights),
            "reference": self.reference,
            "data": _text(self.data),
            "hints": {name: _plain(value) for name, value in vars(self.hints).items() if value is not None},
            "effort": self.effort.value,
            "images": self.images,
            "rules": _text(self.rules),
            "timeout": self.timeout,
            "fail_on": self.fail_on.value,
            "allow_incomplete": self.allow_incomplete,
        }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
