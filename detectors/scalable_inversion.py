"""Scalable inversion: which small trigger makes the network say the same of every image, whatever it says?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from modelscan_bd.budget import passes
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.inversion import MaskedPattern, Schedule
from modelscan_bd.inversion.optimiser import RowAdam
from modelscan_bd.inversion.schedule import Pressure
from modelscan_bd.passes import FastForward, chunks, require_gradients
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

# s starts, n images, k classes
Rows: TypeAlias = Int[Tensor, " s"]
Triggers: TypeAlias = Float[Tensor, "s d h w"]
Means: TypeAlias = Float[Tensor, "s k"]  # mean predictions over images

_ABSENT = 0.0  # the value of a class that no start came to
_FEWEST_IMAGES = 16
_FEWEST_STEPS = 10
_SMALLEST = 1e-6  # mask, as a share of the image
_TRIGGER = MaskedPattern()


@final
class _Search:
    """Triggers that each start from a random place and end where they found the least mask that makes answers agree."""

    def __init__(self, forward: FastForward, start: Triggers, schedule: Schedule) -> None:
        self.forward = forward
        self.adam = RowAdam(start, rate=schedule.rate, betas=schedule.betas)
        self.pressure = Pressure(schedule, len(start))
        self.best: Triggers = start.clone()
        self.sizes = torch.full((len(start),), math.inf)

    def step(self, rows: Rows, images: Images) -> None:
        """Towards a mean prediction of less entropy, and towards a smaller mask."""
        candidates = self.adam.values[rows].requires_grad_()
        stamped = _TRIGGER.stamp(candidates, images.expand(len(rows), *images.shape))
        logs = self.forward(stamped.flatten(0, 1)).log_softmax(1).view(len(rows), len(images), -1)
        mean = logs.exp().mean(1)
        likeliest = mean.argmax(1)
        misses = -logs[torch.arange(len(rows)), :, likeliest].mean(1)  # where it is at, entropy alone is too content
        loss = torch.special.entr(mean).sum(1) + misses + self.pressure.weight[rows] * _TRIGGER.penalty(candidates)
        (gradient,) = torch.autograd.grad(loss.sum(), candidates)
        agree = (logs.argmax(2) == likeliest.unsqueeze(1)).float().mean(1)
        self._remember(rows, candidates.detach(), works=self.pressure.update(rows, agree))
        self.adam.step(rows, gradient)

    def _remember(self, rows: Rows, candidates: Triggers, works: Tensor) -> None:
        sizes = _TRIGGER.size(candidates)
        better = works & (sizes < self.sizes[rows])
        self.sizes[rows[better]], self.best[rows[better]] = sizes[better], candidates[better]

    def means(self, images: Images) -> Means:
        """The mean prediction for images that each trigger is stamped on."""
        found = []
        with torch.no_grad():
            for trigger in self.best.split(1):
                stamped = _TRIGGER.stamp(trigger, images.unsqueeze(0))[0]
                found.append(torch.cat([self.forward(part).softmax(1) for part in stamped.split(64)]).mean(0))
        return torch.stack(found)


@final
@dataclass(frozen=True, kw_only=True)
class ScalableInversion:
    """A few random triggers, pressed to be small and to make predictions on all images agree; no class is named.

    The entropy of the mean prediction is lessened, to whichever class that leads: cost depends on the starts, not on
    the classes. The paper judges by this entropy alone; here triggers also shrink for as long as answers agree, because
    with patience a clean network collapses too. They start faint, for strong ones all end in the class of noise.
    """

    card: ClassVar[Card] = Card(
        id="scalable-inversion",
        title="A very small trigger makes the network say the same of every image",
        paper="Harikumar et al., Scalable Backdoor Detection in Neural Networks, ECML PKDD 2020, "
        "https://arxiv.org/abs/2006.05646",
        cost=Cost.SECONDS,
        scores={
            "smallness": "smallest mask under which answers agree, as halvings of the whole image's area",
            "collapse": "1 - entropy of the mean prediction under that mask as a share of the highest, 0 to 1",
        },
        sees="fixed patches that turn any image into one class, at the same cost for any number of classes",
        blind_to=(
            "the same as neural-cleanse; and it compares no classes, so a class that is easily reached in a clean "
            "network counts as much as a target does. All starts often end in one such class, and a target that none "
            "comes to is missed"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=3,
        published=(
            "Its abstract says that it told Trojaned from clean networks without an error; no independent figure was "
            "found."
        ),
        survey=58,
        effort=Effort.THOROUGH,
    )

    starts: int = 6
    faint: float = 1.0  # by how much masks start below a half, in the argument of their tanh
    work: float = 2000.0  # thousand million multiply-adds at most; fewer steps where a pass costs more
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=120, batch=12))

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing, or where there are too few images to agree."""
        images = subject.probes.images[torch.randperm(len(subject.probes.images), generator=rng)]
        if len(images) < _FEWEST_IMAGES:
            raise CannotMeasure("the probe images are too few for answers to agree by more than chance")
        require_gradients(subject.classifier, images)
        half = len(images) // 2
        search = self._searched(subject, images[:half], rng, watch)
        means = search.means(images[half:])
        share, classes = means.max(1)
        size = search.sizes / share / _TRIGGER.whole(subject.shape)
        smallness = size.clamp(_SMALLEST, 1).double().log2().abs()
        per_class = np.full(subject.classes, _ABSENT)
        np.maximum.at(per_class, classes.numpy(), smallness.numpy())
        best = int(smallness.argmax())
        pictures = _TRIGGER.pictures(search.best[best : best + 1], subject.shape)
        return Evidence(
            detector=self.card.id,
            scores={"smallness": float(per_class.max()), "collapse": _collapse(means[best])},
            per_class={"smallness": tuple(per_class.tolist())},
            artefacts={f"class-{classes[best]}-{name}": shown[0] for name, shown in pictures.items()},
        )

    def _searched(self, subject: Subject, images: Images, rng: torch.Generator, watch: Watch) -> _Search:
        """All starts see the same images at every step."""
        start = torch.stack([_TRIGGER.start(subject.shape, rng) for _ in range(self.starts)])
        start[:, :1] -= self.faint
        search = _Search(FastForward.of(subject.classifier, images), start, self.schedule)
        batch = min(self.schedule.batch, len(images))
        affordable = passes(subject, work=self.work) // (self.starts * batch)
        steps = min(self.schedule.steps, max(_FEWEST_STEPS, affordable))
        for step in range(steps):
            picked = images[torch.randperm(len(images), generator=rng)[:batch]]
            for rows in chunks(torch.arange(self.starts), images_per_row=batch, shape=subject.shape):
                search.step(rows, picked)
            watch.tick((step + 1) / steps, f"{self.starts} starts")
        return search


def _collapse(mean: Float[Tensor, " k"]) -> float:
    return 1 + float(torch.special.xlogy(mean, mean).sum()) / math.log(len(mean))
