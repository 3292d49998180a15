"""TABOR: Neural Cleanse, but triggers that are large, scattered, or paint outside their own mask are charged for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
import torch.nn.functional as F

from modelscan_bd.inversion import Family, MaskedPattern, Schedule, measured
from modelscan_bd.inversion.families import Masks, Parameters, Patterns, PerClass, Pictures, Rows, Sources, Start
from modelscan_bd.passes import FastForward
from modelscan_bd.types import Card, Cost, Effort, Evidence, Need, Shape, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class RegularisedPattern(Family):
    """Neural Cleanse's trigger under TABOR's penalties, their weights given as multiples of the mask's own.

    `overlaid` is what counts for the trigger alone, on black, not being the class.
    """

    outside: float = 1.0
    scatter: float = 0.1
    outside_scatter: float = 0.01
    overlaid: float = 0.01
    base: MaskedPattern = field(default_factory=MaskedPattern)

    def start(self, shape: Shape, rng: torch.Generator) -> Start:
        return self.base.start(shape, rng)

    def stamp(self, parameters: Parameters, images: Sources) -> Sources:
        return self.base.stamp(parameters, images)

    def penalty(self, parameters: Parameters) -> PerClass:
        mask, pattern = self.base.masks(parameters), self.base.patterns(parameters)
        left_over = (1 - mask) * pattern
        return (
            _elastic(mask)
            + self.outside * _elastic(left_over)
            + self.scatter * _roughness(mask)
            + self.outside_scatter * _roughness(left_over)
        )

    def extra(self, parameters: Parameters, targets: Rows, forward: FastForward) -> PerClass:
        alone = self.base.masks(parameters) * self.base.patterns(parameters)
        return self.overlaid * F.cross_entropy(forward(alone), targets, reduction="none")

    def size(self, parameters: Parameters) -> PerClass:
        return self.base.size(parameters)

    def whole(self, shape: Shape) -> float:
        return self.base.whole(shape)

    def pictures(self, parameters: Parameters, shape: Shape) -> Mapping[str, Pictures]:
        return self.base.pictures(parameters, shape)


@final
@dataclass(frozen=True, kw_only=True)
class Tabor:
    """Every class's smallest trigger under TABOR's penalties; then, whose mask stands out?

    Differs from the paper in speed, as `modelscan_bd.inversion` does, and in two things more. Its penalty for masks
    that hide what an image shows is left out, because it needs labels that are right. Triggers are compared by their
    masks' size and success on held-back images, which are terms of the paper's measure; its other terms need labels
    or a weight for each network.
    """

    card: ClassVar[Card] = Card(
        id="tabor",
        title="One class is reached by a very small patch in one piece",
        paper="Guo, Wang, Xing, Du, Song, TABOR, ICDM 2020, https://arxiv.org/abs/1908.01763",
        cost=Cost.SECONDS,
        scores={
            "anomaly_index": "robust standard deviations of log mask size below the median class",
            "size_lead": "second smallest mask as a multiple of the smallest, in times",
            "smallness": "smallest mask, as halvings of the whole image's area",
        },
        sees="fixed patches and stickers in one piece that turn any image into one class",
        blind_to=(
            "all that neural-cleanse is blind to, and more so triggers that are faint and spread over the image; "
            "without clean images it works on procedural ones, and is weaker"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        effort=Effort.THOROUGH,
        published=(
            "Hu et al. (arXiv:2110.08335) measured AUROCs of 0.65 on MNIST and 0.71 on CIFAR-10 for square patches, "
            "and of 0.50 to 0.71 on four TrojAI rounds."
        ),
        survey=54,
    )

    family: RegularisedPattern = field(default_factory=RegularisedPattern)
    schedule: Schedule = field(default_factory=Schedule)

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where gradients are missing, or where the probe images leave too few classes."""
        return measured(self.card, self.family, self.schedule, subject, watch=watch)


def _elastic(picture: Patterns | Masks) -> PerClass:
    """Elastic net: linear charge for much, square charge for strong; a share of the image."""
    _, _, h, w = picture.shape
    return (picture + picture.square()).sum((1, 2, 3)) / (h * w)


def _roughness(picture: Patterns | Masks) -> PerClass:
    """Squared steps from each pixel to the next, down and across; a share of the image."""
    _, _, h, w = picture.shape
    down, across = picture.diff(dim=2), picture.diff(dim=3)
    return (down.square().sum((1, 2, 3)) + across.square().sum((1, 2, 3))) / (h * w)
