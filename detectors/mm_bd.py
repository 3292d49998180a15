"""MM-BD: how far can a class be pushed above all others, starting from noise? A backdoor's target goes furthest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from modelscan_bd.errors import CannotMeasure
from modelscan_bd.passes import FastForward, chunks, require_gradients
from modelscan_bd.stats import gamma_tail, lead, robust_z
from modelscan_bd.types import Card, Cost, Evidence, Images, Logits, Need, Subject, Watch

Margins = Float[Tensor, " m"]

_LEAST_SPREAD = 0.25  # of margins, as a share of their median size
_LEAST_RIVAL = 0.01  # as a share of the largest margin; keeps the lead below 100


@final
@dataclass(frozen=True, kw_only=True)
class MmBd:
    """The largest margin of every class, all classes and starts in one batch.

    The paper climbs 300 steps from 30 starts; far fewer of both do here. Steps made equally long for all classes need
    fewer still, but hide the steepness that tells a target from others.
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
    )

    starts: int = 4
    most: int = 400  # climbs in all; with very many classes each gets fewer starts, at least one
    steps: int = 75
    rate: float = 0.01  # the paper's, as is the momentum
    momentum: float = 0.2

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing or margins are not finite."""
        margins = self._margins(subject, rng, watch).double().numpy(force=True)  # (k,)
        if not np.isfinite(margins).all():
            raise CannotMeasure("the network's outputs on noise are not finite numbers")
        spread = _LEAST_SPREAD * float(np.median(np.abs(margins)))
        rival = max(_LEAST_RIVAL * float(np.abs(margins).max()), 1e-6)
        per_class = {
            "margin_index": tuple(robust_z(margins, floor=max(spread, 1e-6)).tolist()),
            "margin_lead": tuple(np.exp(lead(np.log(np.maximum(margins, rival)))).tolist()),
        }
        scores = {name: max(values) for name, values in per_class.items()} | {"surprise": gamma_tail(margins)}
        return Evidence(detector=self.card.id, scores=scores, per_class=per_class)

    def _margins(self, subject: Subject, rng: torch.Generator, watch: Watch) -> Float[Tensor, " k"]:
        """The best margin of each class over the starts; the starts are the same for all classes."""
        starts = max(1, min(self.starts, self.most // subject.classes))
        noise = torch.rand(starts, *subject.shape, generator=rng)
        require_gradients(subject.classifier, noise)
        forward, best = FastForward.of(subject.classifier, noise), []
        climbs = torch.arange(subject.classes * starts)
        for part in chunks(climbs, images_per_row=1, shape=subject.shape):
            best.append(self._climb(forward, noise[part % starts], part // starts))
            watch.tick((int(part[-1]) + 1) / len(climbs), f"{subject.classes} classes")
        return torch.cat(best).view(subject.classes, starts).amax(1)

    def _climb(self, forward: FastForward, images: Images, targets: Int[Tensor, " n"]) -> Margins:
        velocity = torch.zeros_like(images)
        for _ in range(self.steps):
            images.requires_grad_()
            (gradient,) = torch.autograd.grad(_margin(forward(images), targets).sum(), images)
            velocity = self.momentum * velocity + gradient
            images = (images.detach() + self.rate * velocity).clamp(0, 1)
        with torch.no_grad():
            return _margin(forward(images), targets)


def _margin(logits: Logits, targets: Int[Tensor, " n"]) -> Margins:
    """The target's logit minus the largest other one."""
    target = logits.gather(1, targets.unsqueeze(1))
    return target.squeeze(1) - logits.scatter(1, targets.unsqueeze(1), -torch.inf).amax(1)
