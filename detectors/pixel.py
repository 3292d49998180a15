"""Pixel: which class is reached by the least brightening and darkening? A fixed trigger needs far less than others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch

from modelscan_bd.inversion import Schedule, SignedPixels, measured
from modelscan_bd.types import Card, Cost, Evidence, Need, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class Pixel:
    """Signed changes in place of a mask: no weak mask hides a loud pattern, so triggers come out sharper."""

    card: ClassVar[Card] = Card(
        id="pixel",
        title="One class is reached by changing very little",
        paper="Tao et al., Better Trigger Inversion Optimization in Backdoor Scanning, CVPR 2022",
        cost=Cost.SECONDS,
        scores={
            "anomaly_index": "robust standard deviations of log change below the median class",
            "size_lead": "second smallest change as a multiple of the smallest, in times",
            "smallness": "smallest change, as halvings of the whole image at full strength",
        },
        sees="fixed patches, and fixed faint patterns added to the image, that turn any image into one class",
        blind_to=(
            "triggers that differ from image to image or move its pixels; triggers for one source class only; "
            "backdoors with as many targets as classes. Without clean images it works on procedural ones, and is far "
            "weaker: there, other classes can be about as cheap to reach as the target"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        published=(
            "On TrojAI's object detectors it found 18 % at 7 % false alarms in ODSCAN's comparison (Cheng et al., IEEE "
            "S&P 2024); no rate on image classifiers was found."
        ),
    )

    schedule: Schedule = field(default_factory=Schedule)

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where gradients are missing, or where the probe images leave too few classes."""
        return measured(self.card, SignedPixels(), self.schedule, subject, watch=watch)
