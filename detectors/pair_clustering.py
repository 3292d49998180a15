"""Pair clustering: do triggers that turn one class into another serve other pairs too? A backdoor's trigger does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modelscan_bd.budget import passes
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.inversion import Inversion, MaskedPattern, Schedule, search
from modelscan_bd.inversion.field import Field
from modelscan_bd.passes import FastForward, chunks, require_gradients
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

Classes = Int[Tensor, " p"]
Sizes = Float[Tensor, " p"]
Transfer = Float[Tensor, "p p"]

_FEWEST_SOURCES = 3
_ENOUGH_SOURCES = 6  # of as many images as are wanted; the rest is then left out
_FEWEST_IMAGES = 2  # of a source
_FEWEST_PAIRS = 12
_SELDOM = 0.1  # the least success that a size is divided by


@final
@dataclass(frozen=True, kw_only=True)
class PairClustering:
    """One small trigger for each of some (source, target) pairs, tried on the sources of all other pairs.

    As in the paper, pairs whose triggers serve one another are clustered. Only pairs with *different* targets count
    as serving one another here: a trigger that reaches its own target from anywhere is common in clean networks, one
    that turns each class into another class of its own is not. What any trigger does to a source is taken off first.
    The paper inverts all pairs; here a source has a few targets, those that its images are nearest to.
    """

    card: ClassVar[Card] = Card(
        id="pair-clustering",
        title="One trigger turns several classes, each into another",
        paper="Xiang, Xiong, Li, UMD, ICML 2023, https://arxiv.org/abs/2305.18651",
        cost=Cost.SECONDS,
        scores={
            "mutual_transfer": "mean share of images that a cluster's triggers turn as its other pairs are, 0 to 1",
            "cluster_smallness": "halvings of the image to the size of the cluster's triggers, times mutual transfer",
            "asymmetry": "how much smaller a trigger is than the one of the opposite direction, largest, in halvings",
        },
        sees="all-to-all backdoors, and others with a target for each source; by the asymmetry also a single target",
        blind_to=(
            "triggers that differ from image to image or are large; with many classes most pairs are never tried. "
            "Without clean images it works on the few classes that procedural images fall into"
        ),
        needs=frozenset({Need.GRADIENTS}),
        effort=Effort.THOROUGH,
        published=(
            "UMD's abstract: detection accuracy 17, 4 and 8 points above the best others on CIFAR-10, GTSRB and "
            "Imagenette, over attacks with any number of sources and targets."
        ),
    )

    most_pairs: int = 90
    most_sources: int = 12
    work: float = 3000.0  # thousand million multiply-adds; a large network gets fewer pairs for them
    images: int = 3  # of each source, to find its triggers with and to try the others' on
    cluster: int = 4  # pairs
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=60, patience=3, round=20, contenders=1.0))

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing, or the probe images are of fewer than three classes."""
        require_gradients(subject.classifier, subject.probes.images)
        plan = self._plan(subject)
        schedule = replace(self.schedule, batch=plan.each)
        field_of_pairs = plan.field(subject)
        found = search(field_of_pairs, MaskedPattern(), schedule, rng=rng, watch=watch)
        works = (found.sizes < found.whole).float().unsqueeze(1)  # what never worked at home is no trigger
        excess = works * plan.excess(plan.transfer(found, field_of_pairs.forward))
        transfer, members = _best_cluster(torch.minimum(excess, excess.T), self.cluster)
        halvings = _halvings(found)
        served = (F.one_hot(plan.targets, subject.classes) * excess.amax(0).unsqueeze(1)).amax(0)
        return Evidence(
            detector=self.card.id,
            scores={
                "mutual_transfer": transfer,
                "cluster_smallness": transfer * float(halvings[members].mean()),
                "asymmetry": plan.asymmetry(halvings),
            },
            details={"served_by_other_pairs": tuple(served.double().tolist())},
        )

    def _plan(self, subject: Subject) -> Pairs:
        """The sources with most images, surest first, and for each the targets that its images are nearest to."""
        images, k = subject.probes.images, subject.classes
        scores = subject.classifier.classify(images).log_softmax(1)
        predicted = scores.argmax(1)
        counts = predicted.bincount(minlength=k)
        sure = torch.zeros(k).index_add_(0, predicted, scores.amax(1).exp()) / counts.clamp_min(1)
        order = (counts.clamp_max(self.images) + sure).argsort(descending=True)
        rich = int((counts >= self.images).sum())
        fewest = self.images if rich >= _ENOUGH_SOURCES else _FEWEST_IMAGES
        sources = order[counts[order] >= fewest][: self.most_sources]
        if len(sources) < _FEWEST_SOURCES:
            raise CannotMeasure("the probe images are of too few classes for pairs of classes to be compared")
        each = min(self.images, int(counts[sources].min()))
        affordable = passes(subject, work=self.work) // (each * self.schedule.steps)
        most = max(_FEWEST_PAIRS, min(self.most_pairs, affordable))
        sources = sources[: max(_FEWEST_SOURCES, most // 3)]
        picked = torch.stack([(predicted == source).nonzero()[:each, 0] for source in sources])  # (s, each)
        near = scores[picked].mean(1).scatter(1, sources.unsqueeze(1), -torch.inf)
        targets = near.topk(min(k - 1, max(1, most // len(sources))), dim=1).indices  # (s, t)
        return Pairs(
            images=images[picked.flatten()],
            each=each,
            places=torch.arange(len(sources)).repeat_interleave(targets.shape[1]),
            sources=sources.repeat_interleave(targets.shape[1]),
            targets=targets.flatten(),
        )


@final
@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of classes, and `each` images of every source: those of the source in place i come i-th."""

    images: Images
    each: int
    places: Classes
    sources: Classes
    targets: Classes

    def field(self, subject: Subject) -> Field:
        """Each trigger is found, and its success is told, on all images of its source."""
        own = torch.arange(len(self.images)) // self.each == self.places.unsqueeze(1)
        forward = FastForward.of(subject.classifier, self.images)
        return Field(
            forward=forward, classes=self.targets, images=self.images, usable=own, judges=self.images, judging=own
        )

    def transfer(self, found: Inversion, forward: FastForward) -> Transfer:
        """In row p and column q: the share of the source of q that the trigger of p turns into the target of q."""
        images, rows = self.images.unsqueeze(0), []
        with torch.no_grad():
            for part in chunks(torch.arange(len(self.targets)), images_per_row=len(self.images), shape=found.shape):
                stamped = found.family.stamp(found.parameters[part], images.expand(len(part), *self.images.shape))
                answers = forward(stamped.flatten(0, 1)).argmax(1).view(len(part), -1, self.each)
                rows.append((answers[:, self.places] == self.targets.view(1, -1, 1)).float().mean(2))
        return torch.cat(rows)

    def excess(self, transfer: Transfer) -> Transfer:
        """What is above the pair's median over all triggers, where source and target both differ; else nothing.

        Any trigger spoils images, and each source has a class that its spoilt images fall into.
        """
        other = self._differ(self.sources) & self._differ(self.targets)
        usual = torch.where(other, transfer, torch.nan).nanmedian(0).values.nan_to_num(0.0)
        return torch.where(other, transfer - usual, torch.zeros_like(transfer)).clamp_min(0)

    def asymmetry(self, halvings: Sizes) -> float:
        """Halvings from the larger trigger of two opposite pairs to the smaller one; nothing without such pairs."""
        opposite = (self.sources.unsqueeze(1) == self.targets) & (self.targets.unsqueeze(1) == self.sources)
        return float(torch.where(opposite, halvings.unsqueeze(1) - halvings, 0.0).max())

    def _differ(self, classes: Classes) -> Bool[Tensor, "p p"]:
        return classes.unsqueeze(1) != classes


def _halvings(found: Inversion) -> Sizes:
    """How often the whole image is to be halved until a trigger's size is reached; that of a rare success is larger."""
    return (found.whole / (found.sizes / found.success.clamp_min(_SELDOM)).clamp_max(found.whole)).log2()


def _best_cluster(mutual: Transfer, size: int) -> tuple[float, Int[Tensor, " m"]]:
    """The largest mean within a cluster of `size` pairs, and who is in it.

    One cluster grows from every pair, each time by the one that is served best.
    """
    members = torch.arange(len(mutual)).unsqueeze(1)  # (p, m)
    total = torch.zeros(len(mutual))
    for _ in range(min(size, len(mutual)) - 1):
        gain = mutual[members].sum(1).scatter(1, members, -1.0)  # of each possible new member
        best, new = gain.max(1, keepdim=True)
        total, members = total + best.squeeze(1), torch.cat([members, new], 1)
    m = members.shape[1]
    return float(total.max() / (m * (m - 1) / 2)), members[total.argmax()]
