"""Universal perturbation: which class needs the least added to every image alike? A trigger is a short cut there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modelscan_bd.budget import passes
from modelscan_bd.inversion import Family, Inversion, Stop, compare, pictures
from modelscan_bd.inversion.families import Parameters, PerClass, Pictures, Sources, Start
from modelscan_bd.inversion.field import Field
from modelscan_bd.passes import chunks, require_gradients
from modelscan_bd.types import Card, Cost, Effort, Evidence, Need, Shape, Subject, Watch

Rows = Int[Tensor, " r"]
Works = Bool[Tensor, " r"]

_GROW_UNTIL_IT_WORKS, _GROW, _SHRINK = 1.25, 1.06, 0.94
_FEWEST_CLASSES, _FEWEST_IMAGES = 6, 4


@final
@dataclass(frozen=True, kw_only=True)
class Added(Family):
    """One picture that is added to every image; its size is its L2 norm. `band` keeps its lowest frequencies only."""

    unit: ClassVar[str] = "L2 norm of pixels in [0, 1]"

    band: float = 1.0  # share of the frequencies of each axis, lowest first

    def start(self, shape: Shape, rng: torch.Generator) -> Start:  # noqa: ARG002
        return torch.zeros(shape)

    def stamp(self, parameters: Parameters, images: Sources) -> Sources:
        return (images + parameters.unsqueeze(1)).clamp(0, 1)

    def penalty(self, parameters: Parameters) -> PerClass:
        return self.size(parameters).div(0.5 * parameters[0].numel() ** 0.5)

    def size(self, parameters: Parameters) -> PerClass:
        return parameters.flatten(1).square().sum(1).sqrt()

    def whole(self, shape: Shape) -> float:
        """That of half the range on every pixel."""
        return 0.5 * math.sqrt(math.prod(shape))

    def pictures(self, parameters: Parameters, shape: Shape) -> Mapping[str, Pictures]:  # noqa: ARG002
        return {"smooth-added" if self.band < 1 else "added": parameters}

    def passed(self, pattern: Float[Tensor, "r c h w"]) -> Float[Tensor, "r c h w"]:
        """What of a pattern lies within the band."""
        if self.band >= 1:
            return pattern
        h, w = pattern.shape[2:]
        rows, columns = torch.fft.fftfreq(h).abs() <= self.band / 2, torch.fft.rfftfreq(w) <= self.band / 2
        spectrum = torch.fft.rfft2(pattern) * (rows.unsqueeze(1) & columns).to(pattern.device)
        kept: Tensor = torch.fft.irfft2(spectrum, s=(h, w))
        return kept


@final
@dataclass(frozen=True, kw_only=True)
class UniversalPerturbation:
    """One perturbation for each class that sends all images there, on a ball whose radius follows its success.

    Steps go down the normalised gradient and back onto the ball; the radius grows while images resist and shrinks
    once they yield (as in Rony et al., CVPR 2019, for single images). So there is no weight to tune and a few steps
    are enough. Judged, like other triggers, by images that were held back.
    """

    card: ClassVar[Card] = Card(
        id="universal-perturbation",
        title="One class is reached by adding the same faint picture to every image",
        paper=(
            "Moosavi-Dezfooli et al., Universal Adversarial Perturbations, CVPR 2017; as a backdoor's sign: Xiang, "
            "Miller, Kesidis, Detection of Backdoors in Trained Classifiers Without Access to the Training Set, TNNLS "
            "2020"
        ),
        cost=Cost.SECONDS,
        scores={
            "anomaly_index": "robust standard deviations of log norm below the median class",
            "size_lead": "second smallest norm as a multiple of the smallest, in times",
            "smooth_index": "the same index of pictures of low frequencies only",
        },
        sees="patterns blended into or added to the whole image, often patches; one target class",
        blind_to=(
            "triggers that differ from image to image or move its pixels; triggers for one source class only; "
            "backdoors with as many targets as classes. Without clean images it works on procedural ones, far worse"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        effort=Effort.THOROUGH,
        published=(
            "Cassandra (arXiv:2007.14433), a classifier trained on such perturbations, reports over 92 % accuracy on "
            "MNIST and two NIST rounds; for the papers above no figure was found."
        ),
    )

    steps: int = 40
    batch: int = 8
    most_classes: int = 16
    success: float = 0.75  # share of a step's images that must be in the class
    rate: float = 0.15  # length of a step, as a share of the radius
    first: float = 0.02  # radius at the start, as a share of the largest sensible norm
    band: float = 0.25
    work: float = 1500.0  # thousand million multiply-adds, for each of the two kinds

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing, or where the images leave too few classes."""
        require_gradients(subject.classifier, subject.probes.images)
        rows, batch = self._fitted(subject)
        field = Field.of(subject, rows, rng)
        plain = self._searched(field, Added(), batch, rng, watch)
        smooth = self._searched(field, Added(band=self.band), batch, rng, watch)
        one, other = compare(plain, subject.classes), compare(smooth, subject.classes)
        per_class = {
            "anomaly_index": one.anomaly_index,
            "size_lead": one.size_lead,
            "smooth_index": other.anomaly_index,
        }
        return Evidence(
            detector=self.card.id,
            scores={name: max(values) for name, values in per_class.items()},
            per_class=per_class,
            details={"norm": one.sizes, "success": one.success, "smooth_norm": other.sizes},
            artefacts=pictures(plain, most=1) | pictures(smooth, most=1),
        )

    def _fitted(self, subject: Subject) -> tuple[int, int]:
        """How many classes and images there is work for."""
        images = passes(subject, work=self.work) // self.steps
        rows = min(self.most_classes, max(_FEWEST_CLASSES, images // self.batch))
        return rows, min(self.batch, max(_FEWEST_IMAGES, images // rows))

    def _searched(self, field: Field, family: Added, batch: int, rng: torch.Generator, watch: Watch) -> Inversion:
        """The radius swings about the norm that is needed; the mean of the last quarter of the steps is reported."""
        rows, whole, last = len(field.classes), family.whole(field.shape), self.steps - self.steps // 4
        radius, found = torch.full((rows,), self.first * whole), torch.zeros(rows, dtype=torch.bool)
        added, total = torch.zeros(2, rows, *field.shape)
        for step in range(self.steps):
            draw = torch.rand(len(field.images), generator=rng)
            picked = (field.usable * (draw + 1)).topk(min(batch, len(draw))).indices
            gradient, works = self._slope(field, family, added, picked)
            found |= works
            radius = radius * torch.where(works, _SHRINK, torch.where(found, _GROW, _GROW_UNTIL_IT_WORKS))
            radius = radius.clamp_max(whole)
            added = added - (self.rate * radius).view(-1, 1, 1, 1) * _unit(family.passed(gradient))
            added = _unit(added) * radius.view(-1, 1, 1, 1)
            total = total + added if step >= last else total
            watch.tick((step + 1) / self.steps, f"{rows} classes")
        best = total / (self.steps - last)
        return Inversion(
            classes=field.classes,
            sizes=torch.where(found, family.size(best), whole),
            success=_success(field, family, best),
            family=family,
            parameters=best,
            whole=whole,
            shape=field.shape,
            steps=(self.steps,) * rows,
            stops=(Stop.BUDGET,) * rows,
        )

    def _slope(
        self, field: Field, family: Added, added: Parameters, picked: Int[Tensor, "r b"]
    ) -> tuple[Float[Tensor, "r c h w"], Works]:
        """The gradient of each class's misses, and whether its perturbation sends enough of the images there."""
        slopes, works = torch.zeros_like(added), torch.zeros(len(added), dtype=torch.bool)
        for part in chunks(torch.arange(len(added)), images_per_row=picked.shape[1], shape=field.shape):
            candidates = added[part].clone().requires_grad_()
            answers = field.forward(family.stamp(candidates, field.images[picked[part]]).flatten(0, 1))
            targets = field.classes[part].repeat_interleave(picked.shape[1])
            misses = F.cross_entropy(answers, targets, reduction="sum")
            (slopes[part],) = torch.autograd.grad(misses, candidates)
            works[part] = (answers.argmax(1) == targets).view(len(part), -1).float().mean(1) >= self.success
        return slopes, works


def _unit(pattern: Float[Tensor, "r c h w"]) -> Float[Tensor, "r c h w"]:
    return F.normalize(pattern.flatten(1), dim=1).view_as(pattern)


def _success(field: Field, family: Added, added: Parameters) -> PerClass:
    """The share of held-back images of other classes that each perturbation sends to its class."""
    shares, judges = [], field.judges
    with torch.no_grad():
        for row in range(len(added)):
            answers = field.forward(family.stamp(added[row : row + 1], judges.unsqueeze(0))[0]).argmax(1)
            usable = field.judging[row]
            shares.append((answers == field.classes[row])[usable].float().mean())
    return torch.stack(shares)
