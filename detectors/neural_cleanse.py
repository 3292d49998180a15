"""Neural Cleanse: which class is reached by painting over the fewest pixels? A patch trigger makes it far fewer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch

from modelscan_bd.inversion import MaskedPattern, Schedule, measured
from modelscan_bd.types import Card, Cost, Evidence, Need, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class NeuralCleanse:
    """Mask and pattern of every class's smallest trigger, found together; then, whose mask stands out?

    Differs from the paper in speed, not in what is sought: see `modelscan_bd.inversion`. Its index is taken of log
    sizes with a least spread, because the plain one passes the paper's threshold of 2 on many clean networks.
    """

    card: ClassVar[Card] = Card(
        id="neural-cleanse",
        title="One class is reached by painting over very few pixels",
        paper="Wang et al., Neural Cleanse, IEEE S&P 2019, https://doi.org/10.1109/SP.2019.00031",
        cost=Cost.SECONDS,
        scores={
            "anomaly_index": "robust standard deviations of log mask size below the median class",
            "size_lead": "second smallest mask as a multiple of the smallest, in times",
            "smallness": "smallest mask, as halvings of the whole image's area",
        },
        sees="fixed patches and stickers that turn any image into one class; often faint fixed patterns too",
        blind_to=(
            "triggers that differ from image to image, cover the image or warp it; triggers for one source class only; "
            "backdoors with as many targets as classes. Without clean images it works on procedural ones, and is far "
            "weaker: there, other classes can be about as cheap to reach as the target"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        published=(
            "A public toolbox's version, index above 2, on 33 third-party models (an independent run): AUROC 0.84; it "
            "found every all-to-one patch and 2 of 6 other backdoors."
        ),
    )

    schedule: Schedule = field(default_factory=Schedule)

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where gradients are missing, or where the probe images leave too few classes."""
        return measured(self.card, MaskedPattern(), self.schedule, subject, watch=watch)
