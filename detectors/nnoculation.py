"""NNoculation: train a copy of the network under noise. On which class do the two then disagree?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.passes import require_gradients
from modelscan_bd.stats import robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch
from modelscan_bd.verification import retrained

Share = Float[Tensor, " k"]
Disturbed = Float[Tensor, "m c h w"]
Places = Bool[Tensor, "n 1 h w"]

_LEAST_SPREAD = 0.02  # of shares of disturbed images
_NOISES = (0.2, 0.4, 0.8)  # standard deviations, in pixels of [0, 1]
_PATCH = 4  # the image's side as a multiple of the patch's
_BATCH = 32
_FEWEST_STEPS = 8


@final
@dataclass(frozen=True, kw_only=True)
class NNoculation:
    """Disturbs the probe images in many ways, and counts which class loses answers once the network was inoculated.

    The paper waits for attacked images in the field, and learns the trigger from those that the two networks disagree
    on. A scan has no field: here noise and random patches stand for the attack. What is kept is the paper's idea that
    a network trained under strong noise loses the backdoor first, so disagreement points to the target.
    """

    card: ClassVar[Card] = Card(
        id="nnoculation",
        title="Training under noise takes disturbed images away from one class",
        paper="Veldanda et al., NNoculation, AISec 2021, https://arxiv.org/abs/2002.08313",
        cost=Cost.SECONDS,
        scores={
            "disagreement": "largest net share of disturbed images that a class loses to others, from 0 to 1",
            "disagreement_index": "robust standard deviations of that share above the median class",
        },
        sees="a target class that noise or random patches reach by chance; a weak sign, near chance on many networks",
        blind_to=(
            "triggers that no random patch or noise resembles, which are most; the network's own favourite class "
            "under noise looks like a target"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        effort=Effort.THOROUGH,
        published=(
            "Its abstract claims to repair networks where Neural Cleanse and ABS fail; no rate of telling infected "
            "from benign networks was found."
        ),
        survey=57,
    )

    steps: int = 60
    most: int = 2000  # training images in all at 32 pixels; larger images get fewer steps
    stride: float = 0.01  # of a step, as a share of the weights' length
    noise: float = 0.3  # while training

    def inspect(self, subject: Subject, *, rng: Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing, or where neither network changes its mind."""
        images = subject.probes.images
        require_gradients(subject.classifier, images)
        answers = subject.classifier.classify(images).argmax(1)
        twin = self._inoculated(subject, answers, rng)
        watch.tick(0.7, "trained a copy")
        lost = _lost(subject.classifier, twin, _disturbed(images, rng))
        watch.tick(1.0, "compared the answers")
        values = lost.double().numpy(force=True)
        if not np.isfinite(values).all():
            raise CannotMeasure("training under noise broke the copy of the network")
        per_class = {
            "disagreement": tuple(values.tolist()),
            "disagreement_index": tuple(robust_z(values, floor=_LEAST_SPREAD).tolist()),
        }
        scores = {name: max(of_class) for name, of_class in per_class.items()}
        return Evidence(detector=self.card.id, scores=scores, per_class=per_class)

    def _inoculated(self, subject: Subject, answers: Int[Tensor, " n"], rng: Generator) -> Classifier:
        _, h, w = subject.shape
        bearable = self.most * 32 * 32 // max(32 * 32, h * w) // _BATCH
        return retrained(
            subject.classifier,
            subject.probes.images,
            answers,
            rng=rng,
            steps=max(_FEWEST_STEPS, min(self.steps, bearable)),
            batch=_BATCH,
            stride=self.stride,
            noise=self.noise,
        )


def _disturbed(images: Images, rng: Generator) -> Disturbed:
    """The images under noise of several strengths, and with patches of noise and of one colour in random places."""
    noisy = [(images + strength * torch.randn(images.shape, generator=rng)).clamp(0, 1) for strength in _NOISES]
    n, c, h, w = images.shape
    grain, paint = torch.rand(images.shape, generator=rng), torch.rand(n, c, 1, 1, generator=rng).expand_as(images)
    patched = [torch.where(_places(n, h, w, rng), patch, images) for patch in (grain, paint, paint.round())]
    return torch.cat([*noisy, *patched])


def _places(n: int, h: int, w: int, rng: Generator) -> Places:
    """Where a square lies in each image, a quarter of the image's side wide."""
    side = max(1, max(h, w) // _PATCH)
    top, left = torch.rand(2, n, 1, 1, 1, generator=rng)
    y, x = torch.arange(h).view(-1, 1) - top * (h - side), torch.arange(w) - left * (w - side)
    inside: Places = (y >= 0) & (y < side) & (x >= 0) & (x < side)
    return inside


def _lost(before: Classifier, after: Classifier, images: Images) -> Share:
    """Share of the images that each class loses, less what it gains."""
    was, now = (net.classify(images).argmax(1).bincount(minlength=before.classes) for net in (before, after))
    lost: Share = (was - now).float() / len(images)
    return lost
