"""What a measurement tells as it goes, in this order: its plan, the model, what its structure shows, the checks of our
assumptions, and an outcome for each detector. All of it can be sent from one process to another (`wire`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

from modelscan_bd.graph.sight import Sight
from modelscan_bd.inputs import Tier
from modelscan_bd.results import Check, ModelFacts, Outcome
from modelscan_bd.rule import Traits


@final
@dataclass(frozen=True, kw_only=True)
class Planned:
    """Which detectors will run, in their order: by id, each with its settings as text."""

    detectors: Mapping[str, str]
    not_run: tuple[str, ...]
    notes: tuple[str, ...] = ()  # sentences for the report, on how the measurement is carried out


@final
@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The model, and by what it is compared with its like."""

    model: ModelFacts
    traits: Traits
    tier: Tier
    sights: tuple[Sight, ...] = ()  # of what the file claims to be


@final
@dataclass(frozen=True, kw_only=True)
class Checked:
    checks: tuple[Check, ...]


Event: TypeAlias = Planned | Loaded | Checked | Outcome


class CutShort(Exception):
    """Ends a measurement from outside: a limit was hit, or its process died. What was told until then counts.

    `hint` says what could be done about it.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"{what}. {hint}".rstrip())
        self.what = what
