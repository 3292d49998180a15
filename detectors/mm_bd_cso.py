"""MM-BD with class subspace orthogonalisation: how far can a class be pushed up without what its own images share?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.inversion.optimiser import RowAdam
from modelscan_bd.margins import Climb, Targets, Values, climbed, compared, margin
from modelscan_bd.passes import require_gradients
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

References = Float[Tensor, "k q d"]

_ADAM, _BETAS = 0.1, (0.9, 0.999)
_FEWEST_CLASSES = 3  # with references; below that nothing is orthogonal to anything
_SMALLEST = 1e-6


@final
@dataclass(frozen=True, kw_only=True)
class MmBdCso:
    """MM-BD's climb, held away from the features by which a class knows its own images.

    For each class a soft mask marks the penultimate features that alone suffice for it and without which its images
    leave it. While the margin climbs, the cosine between the image's features and the masked ones of `references`
    clean images is pushed down. Other classes then lose their margin; a target keeps what the trigger gives. The
    paper's weight of the cosine is not public; here its unit is the median margin of clean images. Classes are
    those that the network itself puts the images into. A class without an image keeps its plain margin.
    """

    card: ClassVar[Card] = Card(
        id="mm-bd-cso",
        title="One class can be pushed far above all others without looking like its own images",
        paper=(
            "Yang, Miller, Kesidis, Improving the Sensitivity of Backdoor Detectors via Class Subspace "
            "Orthogonalization, 2025, https://arxiv.org/abs/2512.08129"
        ),
        cost=Cost.SECONDS,
        scores={
            "margin_index": "robust standard deviations of the margin above the median class",
            "margin_lead": "largest margin as a multiple of the second largest, in times, at most 100",
            "surprise": "-log10 of the p-value of the largest margin under a Gamma distribution of the others, 0 to 30",
        },
        sees="one target class reached from any image, even where a clean class is naturally easy to push up",
        blind_to=(
            "backdoors with several or all classes as targets; backdoors that use the target's own features. Classes "
            "that none of the clean images falls into are measured as by MM-BD, so they stand out"
        ),
        needs=frozenset({Need.GRADIENTS, Need.FEATURES, Need.CLEAN_IMAGES}),
        min_classes=5,
        effort=Effort.THOROUGH,
        published=(
            "Its abstract claims more sensitivity than detectors such as MM-BD have, and gives no figure; none was "
            "found elsewhere."
        ),
    )

    climb: Climb = field(default_factory=lambda: Climb(starts=2, steps=40))  # the push away takes effect slowly
    references: int = 10  # images of a class at most; the paper's number
    mask_steps: int = 100
    weight: float = 3.0

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients or a linear head are missing, or too few classes have an image."""
        net = subject.classifier
        require_gradients(net, subject.probes.images)
        intrinsic, scale = self._intrinsic(subject)
        counts = (intrinsic.norm(dim=2) > 0).sum(1).clamp_min(1)

        def height(images: Images, targets: Targets) -> Values:
            return margin(_logits(net, net.features(images)), targets)

        def held(images: Images, targets: Targets) -> Values:
            features = net.features(images)
            cosines = (intrinsic[targets] @ F.normalize(features, dim=1).unsqueeze(2)).squeeze(2)
            likeness = cosines.relu().sum(1) / counts[targets]
            return margin(_logits(net, features), targets).sub(likeness, alpha=self.weight * scale)

        found = climbed(subject, self.climb, held, judge=height, rng=rng, watch=watch)
        return compared(self.card, found, subject.classes)

    def _intrinsic(self, subject: Subject) -> tuple[References, float]:
        """Unit vectors, up to `references` a class and zeros where there are fewer; and the median clean margin."""
        net, images = subject.classifier, subject.probes.images
        with torch.no_grad():
            features = torch.cat([net.features(part) for part in images.split(32)])
            logits = _logits(net, features)
        answers = logits.argmax(1)
        rows = features.new_zeros(subject.classes, self.references, features.shape[1])
        for target in answers.unique().tolist():
            own = features[answers == target][: self.references]
            rows[target, : len(own)] = own
        if len(answers.unique()) < _FEWEST_CLASSES:
            raise CannotMeasure("the clean images fall into too few classes")
        scale = max(float(margin(logits, answers).median()), _SMALLEST)
        return F.normalize(rows * self._masks(net, rows).unsqueeze(1), dim=2), scale

    def _masks(self, net: Classifier, rows: References) -> Float[Tensor, "k d"]:
        """The features of each class that suffice and are needed, as shares; all masks at once."""
        given = (rows.norm(dim=2) > 0).flatten()
        targets = torch.arange(len(rows)).repeat_interleave(rows.shape[1])[given]
        adam = RowAdam(rows.new_zeros(len(rows), rows.shape[2]), rate=_ADAM, betas=_BETAS)
        for _ in range(self.mask_steps):
            values = adam.values.clone().requires_grad_()
            masks, images = values.sigmoid()[targets], rows.flatten(0, 1)[given]
            kept = F.cross_entropy(_logits(net, masks * images), targets, reduction="sum")
            left = F.cross_entropy(_logits(net, (1 - masks) * images), targets, reduction="sum")
            (gradient,) = torch.autograd.grad(kept - left, values)
            adam.step(torch.arange(len(rows)), gradient)
        return adam.values.sigmoid()


def _logits(net: Classifier, features: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
    assert isinstance(net.head, nn.Linear)
    logits: Tensor = net.head(features)
    return logits
