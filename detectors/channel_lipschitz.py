"""Channel Lipschitz: does one channel of a layer amplify far more than its neighbours? A trigger may ride on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch

from modelscan_bd.errors import CannotMeasure
from modelscan_bd.layers import layers
from modelscan_bd.stats import Values
from modelscan_bd.types import Card, Cost, Effort, Evidence, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class ChannelLipschitz:
    """The bound that CLP prunes by, read as a measurement, from the weights alone.

    The paper multiplies a kernel with the batch normalisation behind it. Where there is none, the one before counts
    (networks that normalise first, vision transformers), and a batch normalisation folded into its convolution is
    there already. The last layer has `head-signature`.
    """

    card: ClassVar[Card] = Card(
        id="channel-lipschitz",
        title="One channel amplifies far more than the others of its layer",
        paper="Zheng et al., Data-free Backdoor Removal based on Channel Lipschitzness, ECCV 2022",
        cost=Cost.INSTANT,
        scores={
            "deviations": "largest bound of a layer's channel above the layer's mean, in standard deviations",
            "beyond": "share of all channels that lie more than `cut` standard deviations above their layer's mean",
            "lead": "gap of a layer's largest bound to the next, in standard deviations of the others",
        },
        sees="a subnetwork or a few channels set to carry a trigger, as in subnet replacement and some patch backdoors",
        blind_to=(
            "backdoors spread over many channels, which most trained-in ones are: on small networks it tells those "
            "hardly better than chance, and badly trained benign networks have loud channels as well. It names no class"
        ),
        effort=Effort.QUICK,
        published=(
            "Its abstract claims that pruning by this bound removes backdoors as well as the best that need data; no "
            "rate of detection was found."
        ),
    )

    cut: float = 3.0  # the paper's
    fewest: int = 8  # channels of a layer; among fewer nothing can stand out

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where no layer has enough channels that differ."""
        wide = [
            layer
            for layer in layers(subject.classifier)
            if layer.channels >= self.fewest and layer.module is not subject.classifier.head
        ]
        bounds: list[Values] = []
        for done, layer in enumerate(wide, 1):
            gains = layer.gains().numpy(force=True)
            if not np.isfinite(gains).all():
                raise CannotMeasure(f"the layer {layer.name} holds weights that are not finite numbers")
            if np.ptp(gains) > 1e-6 * gains.max():
                bounds.append(gains)
            watch.tick(done / len(wide), layer.name)
        if not bounds:
            raise CannotMeasure(f"no layer has {self.fewest} channels or more that differ")
        deviations = [(gains - gains.mean()) / gains.std() for gains in bounds]
        scores = {
            "deviations": max(float(each.max()) for each in deviations),
            "beyond": float((np.concatenate(deviations) > self.cut).mean()),
            "lead": max(map(_lead, bounds)),
        }
        return Evidence(detector=self.card.id, scores=scores)


def _lead(gains: Values) -> float:
    *others, first = np.sort(gains)
    return float((first - others[-1]) / max(float(np.std(others)), 1e-6 * first))
