"""Feature inversion: a small painter for each class, trained to pull all images to it by a faint change of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from modelscan_bd.activations import penultimate
from modelscan_bd.inversion.field import Field
from modelscan_bd.inversion.optimiser import RowAdam
from modelscan_bd.passes import chunks, images_per_pass, require_gradients
from modelscan_bd.stats import robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

Painters: TypeAlias = Float[Tensor, "r c f q"]  # how each channel mixes what is seen, in each slow wave
Sources: TypeAlias = Float[Tensor, "r n c h w"]
PerRow: TypeAlias = Float[Tensor, " r"]
Rows: TypeAlias = Int[Tensor, " r"]

_LEAST_SPREAD = 0.1  # of the margins, as multiples of the clean one
_FEWEST_ROWS = 4


@final
@dataclass(frozen=True, kw_only=True)
class FeatureInversion:
    """Trains one painter a class: a mixture of a few local filters that changes slowly over the image.

    FeatureRE and BTI-DBF train a U-Net for minutes, for one class after the other or for whichever class masked
    features fall to. Here all classes' painters are trained in one batch, each may change a pixel by little, and the
    field is halved twice: classes that are hard to reach get a third of the passes. What a painter moves must be the
    same features in all images, which is FeatureRE's hyperplane.
    """

    card: ClassVar[Card] = Card(
        id="feature-inversion",
        title="One class is reached by a faint change that follows each image",
        paper=("Wang et al., FeatureRE, NeurIPS 2022, https://arxiv.org/abs/2210.15127; Xu et al., BTI-DBF, ICLR 2024"),
        cost=Cost.SECONDS,
        scores={
            "reach": "margin to which the easiest class is painted, as a multiple of a clean image's margin",
            "reach_index": "robust standard deviations of that margin above the median class, all after equal steps",
            "reach_lead": "by how many clean margins the easiest class lies above the second",
        },
        sees="warps, filters, triggers that differ from image to image, and faint patterns over the whole image",
        blind_to=(
            "small loud patches, unless a faint change sets off the same features; several target classes; triggers "
            "for one source class. In clean networks a class that is easy to reach looks like a target. With many "
            "classes, and large images, only those that the images come nearest to are tried"
        ),
        needs=frozenset({Need.GRADIENTS, Need.FEATURES}),
        min_classes=4,
        effort=Effort.THOROUGH,
        published=(
            "FeatureRE's abstract reports 93 % accuracy on average over seven attacks and four data sets; BTI-DBF had "
            "79 to 87 % on CIFAR-10 in DISTIL (arXiv:2507.22813), as a digest quotes it."
        ),
    )

    budget: float = 0.06  # the most that a pixel may change
    most: int = 6400  # passes in all, at 32 px
    steps: int = 16  # of the first round, at most; the later ones take as many passes as it
    least: int = 800  # passes in all, however large the images
    batch: int = 8
    rate: float = 0.03
    rounds: int = 3
    waves: int = 13  # along each axis, in which a painter may differ from place to place
    together: float = 1.0  # weight of the features' moving together

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients or a linear last layer are missing, or too few classes are left."""
        require_gradients(subject.classifier, subject.probes.images)
        most = max(self.least, self.most * 1024 // math.prod(subject.shape[1:]))
        field = Field.of(subject, max(_FEWEST_ROWS, min(64, most // (self.rounds * self.batch * 4))), rng)
        work = _Work(subject, field, self, rng)
        steps = min(self.steps, max(4, most // (self.rounds * self.batch * len(field.classes))))
        rows = torch.arange(len(field.classes))
        equal = last = torch.zeros(len(rows))
        for turn in range(self.rounds):
            for step in range(steps):
                work.step(rows, torch.rand(len(field.images), generator=rng))
                watch.tick((turn + (step + 1) / steps) / self.rounds, f"{len(rows)} classes")
            reached = work.reached(rows)
            if turn == 0:
                equal, last = reached, reached.clone()
            last[rows] = reached
            keep = max(_FEWEST_ROWS, len(rows) // 2)
            rows, steps = rows[reached.topk(min(keep, len(rows))).indices.sort().values], steps * len(rows) // keep
        return self._evidence(subject, field, work, equal, last)

    def _evidence(self, subject: Subject, field: Field, work: _Work, equal: PerRow, last: PerRow) -> Evidence:
        scale = _clean_margin(subject)
        even, far = (values.double().numpy(force=True) / scale for values in (equal, last))
        second, first = np.sort(far)[-2:]
        index = robust_z(even, floor=_LEAST_SPREAD)
        found = {
            "reach": (far, float(far.min())),
            "reach_index": (index, float(index.min())),
            "reach_lead": (np.where(far == first, far - second, far - first), float(far.min() - first)),
        }
        per_class = {}
        for name, (values, absent) in found.items():
            full = np.full(subject.classes, absent)
            full[field.classes.numpy(force=True)] = values
            per_class[name] = tuple(full.tolist())
        best = int(last.argmax())
        return Evidence(
            detector=self.card.id,
            scores={name: max(values) for name, values in per_class.items()},
            per_class=per_class,
            artefacts={f"class-{int(field.classes[best])}-change": work.change(best)},
        )


@final
class _Work:
    """The painters of all rows. A row is the position of a class in `field.classes`."""

    def __init__(self, subject: Subject, field: Field, settings: FeatureInversion, rng: torch.Generator) -> None:
        self.field, self.settings = field, settings
        self.classifier = subject.classifier
        c = field.shape[0]
        start = 0.1 * torch.randn(
            c, 4 * c + 1, settings.waves**2, generator=rng
        )  # one for all classes: none has the luckier
        self.adam = RowAdam(start.expand(len(field.classes), *start.shape), rate=settings.rate, betas=(0.9, 0.99))
        with torch.no_grad():
            parts = field.images.split(images_per_pass(field.shape))
            self.before = torch.cat([subject.classifier.features(part) for part in parts])

    def step(self, rows: Rows, draw: Float[Tensor, " n"]) -> None:
        """All rows see the same images, but for those that already are of their class."""
        batch = min(self.settings.batch, len(draw))
        picked = (self.field.usable[rows] * (draw + 1)).topk(batch).indices
        for part in chunks(torch.arange(len(rows)), images_per_row=batch, shape=self.field.shape):
            painters = self.adam.values[rows[part]].requires_grad_()
            loss = self._loss(painters, rows[part], picked[part])
            (gradient,) = torch.autograd.grad(loss, painters)
            self.adam.step(rows[part], gradient)

    def _loss(self, painters: Painters, rows: Rows, picked: Int[Tensor, "r n"]) -> Float[Tensor, ""]:
        painted = _painted(painters, self.field.images[picked], self.settings.budget)
        features = self.classifier.features(painted.flatten(0, 1))
        assert self.classifier.head is not None
        targets = self.field.classes[rows].repeat_interleave(picked.shape[1])
        misses = F.cross_entropy(self.classifier.head(features), targets, reduction="sum") / picked.shape[1]
        moved = features.unflatten(0, picked.shape) - self.before[picked]
        return misses - self.settings.together * _agreement(moved).sum()

    def reached(self, rows: Rows) -> PerRow:
        """The mean margin of each class on held-back images that are not of that class."""
        judges, margins = self.field.judges, []
        with torch.no_grad():
            for part in chunks(rows, images_per_row=len(judges), shape=self.field.shape):
                painted = _painted(
                    self.adam.values[part], judges.expand(len(part), *judges.shape), self.settings.budget
                )
                logits = self.classifier(painted.flatten(0, 1))
                target = self.field.classes[part].repeat_interleave(len(judges)).unsqueeze(1)
                margin = logits.gather(1, target).squeeze(1) - logits.scatter(1, target, -torch.inf).amax(1)
                judging = self.field.judging[part]
                margins.append((margin.view(judging.shape) * judging).sum(1) / judging.sum(1))
        return torch.cat(margins)

    def change(self, row: int) -> Float[Tensor, "c h w"]:
        """What the painter of that row does to the first held-back image."""
        first = self.field.judges[:1]
        return _painted(self.adam.values[row : row + 1], first.unsqueeze(0), self.settings.budget)[0, 0] - first[0]


def _agreement(moved: Float[Tensor, "r n d"]) -> PerRow:
    """The mean cosine between each image's movement and the common one."""
    return F.cosine_similarity(moved, moved.mean(1, keepdim=True), dim=2).mean(1)


def _clean_margin(subject: Subject) -> float:
    """How far a clean image's class is above the next one, in the median."""
    first, second = penultimate(subject).logits.topk(2).values.unbind(1)
    return max(float((first - second).median()), 1e-6)


def _seen(images: Images) -> Float[Tensor, "n f h w"]:
    """What a painter mixes: a constant, the pixels, their slopes along both axes, and their Laplacian."""
    down = F.pad(images, (0, 0, 1, 1), mode="replicate").unfold(2, 3, 1)
    across = F.pad(images, (1, 1, 0, 0), mode="replicate").unfold(3, 3, 1)
    bent = down[..., 0] + down[..., 2] + across[..., 0] + across[..., 2] - 4 * images
    slopes = down[..., 2] - down[..., 0], across[..., 2] - across[..., 0]
    return torch.cat([torch.ones_like(images[:, :1]), 2 * images - 1, *slopes, bent], 1)


def _places(h: int, w: int, waves: int) -> Float[Tensor, "q h w"]:
    """Cosines of low frequency: what is mixed, and how strongly, may change slowly from place to place."""
    frequency = torch.arange(waves).unsqueeze(1)
    y, x = (torch.cos(math.pi * frequency * (torch.arange(side) + 0.5) / side) for side in (h, w))
    return torch.einsum("ih,jw->ijhw", y, x).flatten(0, 1)


def _painted(painters: Painters, images: Sources, budget: float) -> Sources:
    """Every row's images, changed by its painter by at most `budget` a pixel."""
    h, w = images.shape[3:]
    fields = torch.einsum("rcfq,qhw->rcfhw", painters, _places(h, w, math.isqrt(painters.shape[3])))
    seen = _seen(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    change = torch.einsum("rcfhw,rnfhw->rnchw", fields, seen)
    return (images + budget * change.tanh()).clamp(0, 1)
