"""MM-BD: how far can a class be pushed above all others, starting from noise? A backdoor's target goes furthest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch

from modelscan_bd.margins import Climb, compared, margins
from modelscan_bd.types import Card, Cost, Effort, Evidence, Need, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class MmBd:
    """The largest margin of every class, all classes and starts in one batch.

    The paper climbs 300 steps from 30 starts. A few steps from a few starts separate better, at a hundredth of the
    cost: at first the target is steeper than the others, but far enough up every class has a summit somewhere (see
    tests/compare_mm_bd.py). Steps made equally long for all classes hide that steepness.
    """

    card: ClassVar[Card] = Card(
        id="mm-bd",
        title="One class can be pushed far above all others",
        paper="Wang, Xiang, Miller, Kesidis, MM-BD, IEEE S&P 2024, https://arxiv.org/abs/2205.06900",
        cost=Cost.SECONDS,
        scores={
            "surprise": "-log10 of the p-value of the largest margin under a Gamma distribution of the others, 0 to 30",
            "margin_index": "robust standard deviations of the margin above the median class",
            "margin_lead": "largest margin as a multiple of the second largest, in times, at most 100",
        },
        sees="one target class reached from any image, whatever the trigger looks like; needs no images",
        blind_to=(
            "backdoors with several or all classes as targets; backdoors that leave the logits' range alone; "
            "in clean networks, a class that is far easier than the others looks like a target"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=5,
        effort=Effort.QUICK,
        published=(
            "Its authors' script on 33 third-party models (an independent run): AUROC 0.82; at p <= 0.05 it accused "
            "half of the clean ones."
        ),
    )

    climb: Climb = field(default_factory=Climb)

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where gradients are missing or margins are not finite."""
        return compared(self.card, margins(subject, self.climb, watch=watch), subject.classes)
