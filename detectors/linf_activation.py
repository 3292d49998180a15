"""l-infinity activation: which class's smallest trigger drives a penultimate neuron hardest?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from modelscan_bd.inversion import Inversion, MaskedPattern, Schedule, inverted
from modelscan_bd.passes import images_per_pass
from modelscan_bd.stats import Values, robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

PerClass: TypeAlias = Float[Tensor, " r"]  # one value for each class that a trigger was sought for

_LEAST_SPREAD = 0.25  # of log norms
_LEAST_SIZE_SPREAD = 0.5  # of log norms for a mask's size: sizes differ by a factor of 1.6 for no bad reason
_SMALLEST = 1e-6
_ABSENT = 0.0  # the value of a class that no trigger was sought for


@final
@dataclass(frozen=True, kw_only=True)
class LinfActivation:
    """The largest penultimate activation under each class's trigger, compared between classes.

    The triggers are those of Neural Cleanse, shared with it. The paper compares the norms as they are. But inversion
    makes every trigger as small as will still do, so that the target's drives its neurons no harder than others; it
    does so with fewer pixels. Hence a second score: the norm for the mask's size.
    """

    card: ClassVar[Card] = Card(
        id="linf-activation",
        title="One class's trigger drives a neuron hard for its size",
        paper="Xu, Liu, Chen, Zhao, Lin, Defending against Backdoor Attack on Deep Neural Networks, 2020, "
        "https://arxiv.org/abs/2002.12162",
        cost=Cost.SECONDS,
        scores={
            "gain_index": "robust standard deviations of log (norm / mask size) above the median class",
            "norm_index": "robust standard deviations of the log norm above the median class",
        },
        sees=(
            "what neural-cleanse sees, by the neuron that answers to the trigger; nearly all that gain_index knows is "
            "the mask's size"
        ),
        blind_to=(
            "what neural-cleanse is blind to; norm_index alone told infected from clean networks no better than chance "
            "on the models that it was developed on"
        ),
        needs=frozenset({Need.GRADIENTS, Need.FEATURES}),
        min_classes=4,
        effort=Effort.THOROUGH,
        published=(
            "Its abstract claims that pruning by this norm removes backdoors and keeps clean accuracy; no rate of "
            "detection was found."
        ),
        survey=55,
    )

    images: int = 48
    schedule: Schedule = field(default_factory=Schedule)  # Neural Cleanse's, so that its triggers are shared

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure without gradients or a linear head, or where the images leave too few classes."""
        inversion = inverted(subject, MaskedPattern(), self.schedule, watch=watch)
        norms = _norms(subject, inversion, subject.probes.images[: self.images], watch).clamp_min(_SMALLEST).double()
        size = (inversion.sizes / inversion.success.clamp_min(_SMALLEST)).clamp(_SMALLEST, inversion.whole).double()

        def everyone(values: Values, absent: float = _ABSENT) -> tuple[float, ...]:
            full = np.full(subject.classes, absent)
            full[inversion.classes.numpy()] = values
            return tuple(full.tolist())

        per_class = {
            "gain_index": everyone(robust_z((norms / size).log().numpy(), floor=_LEAST_SIZE_SPREAD)),
            "norm_index": everyone(robust_z(norms.log().numpy(), floor=_LEAST_SPREAD)),
        }
        return Evidence(
            detector=self.card.id,
            scores={name: max(values) for name, values in per_class.items()},
            per_class=per_class,
            details={"activation_norm": everyone(norms.numpy())},
        )


def _norms(subject: Subject, inversion: Inversion, images: Images, watch: Watch) -> PerClass:
    """Of each class: the l-infinity norm of the features under its trigger, the mean over images."""
    norms = []
    for row in range(len(inversion.classes)):
        stamped = inversion.stamp(row, images)
        with torch.no_grad():
            parts = [subject.classifier.features(part) for part in stamped.split(images_per_pass(subject.shape))]
        norms.append(torch.cat(parts).abs().amax(1).mean())
        watch.tick((row + 1) / len(inversion.classes), f"{len(inversion.classes)} triggers")
    return torch.stack(norms)
