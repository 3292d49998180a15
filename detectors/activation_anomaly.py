"""Activation anomaly: channels that sleep on harmless images, and single channels that decide for one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modelscan_bd.activations import Activity, activity, along, altered, few, penultimate
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.passes import images_per_pass
from modelscan_bd.stats import robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

PerClass: TypeAlias = Float[Tensor, " k"]

_LEAST_SPREAD = 0.1  # of standardised weights


@final
@dataclass(frozen=True, kw_only=True)
class ActivationAnomaly:
    """Raises one channel at a time, as ABS does, and looks where sleeping features lead, as fine-pruning does.

    ABS goes on to invert a trigger for each suspicious channel; this stops at the channel, and asks of all of them
    how surely they send every image to one class.
    """

    card: ClassVar[Card] = Card(
        id="activation-anomaly",
        title="A single channel inside the network decides for one class",
        paper=(
            "Liu et al., ABS, CCS 2019, https://doi.org/10.1145/3319535.3363216; "
            "Liu et al., Fine-Pruning, RAID 2018, https://arxiv.org/abs/1805.12185"
        ),
        cost=Cost.SECONDS,
        scores={
            "stimulation": "growth of the mean probability of a class when its best channel is raised, 0 to 1",
            "pull": "growth of the mean probability of a class when any one channel is raised, 0 to 1",
            "dormant": "robust standard deviations of the weight of sleeping features above the median class",
        },
        sees="backdoors that rest on a feature which clean images leave asleep: patches, triggers made for a neuron",
        blind_to=(
            "backdoors spread over many channels, as of patterns that cover the image; clean classes that rest on a "
            "single channel look the same. How far single channels reach says little on small networks, "
            "and without clean images, dormancy says nothing"
        ),
        needs=frozenset({Need.FEATURES}),
        min_classes=4,
        published=(
            "ABS, which goes on to invert triggers, had AUROCs of 0.89 to 0.91 on sequestered TrojAI rounds (its "
            "authors' entry), and of 0.53 to 0.68 on TrojAI rounds in Hu et al. (arXiv:2110.08335)."
        ),
        effort=Effort.THOROUGH,
    )

    images: int = 8
    most: int = 2000  # passes at 32 px
    least: int = 320  # passes at any size
    depth: int = 1  # layers, counted from the last hidden one; in early layers any channel, raised everywhere, decides

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where the network does not end in a linear layer."""
        grown = self._stimulated(subject, watch)
        per_class = {
            "stimulation": tuple(grown.amax(0).double().tolist()),
            "pull": tuple(grown.mean(0).double().tolist()),
            "dormant": tuple(robust_z(_dormant(subject).double().numpy(force=True), floor=_LEAST_SPREAD).tolist()),
        }
        scores = {name: max(values) for name, values in per_class.items()}
        return Evidence(detector=self.card.id, scores=scores, per_class=per_class)

    def _stimulated(self, subject: Subject, watch: Watch) -> Float[Tensor, "m k"]:
        """What each channel does for each class."""
        images, seen = few(subject, self.images)[: self.images], activity(subject)[-self.depth :]
        calm = subject.classifier.classify(images).softmax(1).mean(0)
        if not calm.isfinite().all():
            raise CannotMeasure("the network's outputs are not finite numbers")
        h, w = subject.shape[1:]
        channels = max(self.least, self.most * 1024 // (h * w)) // len(images) // len(seen)
        grown = []
        for done, each in enumerate(seen):
            grown.append(_raised(subject, each, _candidates(each, channels), images) - calm)
            watch.tick((done + 1) / len(seen), each.layer.name)
        return torch.cat(grown)


def _candidates(seen: Activity, most: int) -> Int[Tensor, " m"]:
    """The channels that sleep on most images, then those whose largest value is furthest above their mean."""
    above = (seen.highest - seen.mean) / seen.deviation.clamp_min(1e-6)
    return (above + 1e3 * seen.silent).topk(min(most, seen.layer.channels)).indices


def _raised(subject: Subject, seen: Activity, channels: Int[Tensor, " m"], images: Images) -> Float[Tensor, "m k"]:
    """Each class's mean probability over the images, with one channel raised everywhere to the most it ever was."""
    height = torch.maximum(seen.highest, seen.mean + 3 * seen.deviation).clamp_min(1e-6)
    rows = torch.cartesian_prod(channels, torch.arange(len(images)))
    answers = []
    for channel, image in (part.unbind(1) for part in rows.split(images_per_pass(subject.shape))):
        least = torch.full((len(channel), seen.layer.channels), -torch.inf)
        least[torch.arange(len(channel)), channel] = height[channel]

        def change(out: Tensor, least: Tensor = least) -> Tensor:
            return torch.maximum(out, along(seen.layer, least, out))

        with torch.no_grad(), altered({seen.layer: change}):
            answers.append(subject.classifier(images[image]).softmax(1))
    return torch.cat(answers).view(len(channels), -1, subject.classes).mean(1)


def _dormant(subject: Subject) -> PerClass:
    """For each class the largest weight of a feature, against its other weights, times how soundly it sleeps."""
    known, head = penultimate(subject), subject.classifier.head
    assert head is not None
    weight = head.weight.detach()
    against = (weight - weight.mean(0)) / weight.std().clamp_min(1e-12)
    mean = known.features.abs().mean(0)
    sleep = 1 - mean.argsort().argsort() / max(1, len(mean) - 1)
    return (against * sleep).amax(1)
