"""MESA: not one trigger but all that work. How wide is the distribution of small triggers that lead to a class?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modelscan_bd.budget import passes
from modelscan_bd.inversion import Inversion, MaskedPattern, Schedule, inverted
from modelscan_bd.inversion.optimiser import RowAdam
from modelscan_bd.passes import FastForward, chunks
from modelscan_bd.types import Card, Cost, Evidence, Images, Need, Subject, Watch

# m sub-models (one for each class and stair), n images, t classes that are looked at
Rows: TypeAlias = Int[Tensor, " m"]
Values: TypeAlias = Float[Tensor, " m"]
Parameters: TypeAlias = Float[Tensor, "m d h w"]  # the centres of all values, then the logs of their deviations
Drawn: TypeAlias = Float[Tensor, "m n c h w"]
Sources: TypeAlias = Float[Tensor, "m n c h w"]
Usable: TypeAlias = Bool[Tensor, "m n"]

_ABSENT = 0.0  # the value of a class that was not looked at
_NORMAL = 0.5 * math.log(2 * math.pi * math.e)  # entropy of a normal variable of deviation 1, in nats
_CLEAREST = 3.0  # of a pattern that is started from, in logits: 0.05 to 0.95
_FEWEST_STEPS = 10
_BETAS = (0.5, 0.9)  # Adam's, as for inversion


@final
@dataclass(frozen=True, kw_only=True)
class _Ensemble:
    """All sub-models at once, and what they are tried on: one half of the images to climb on, the other to judge by."""

    forward: FastForward
    targets: Rows
    stairs: Values  # the success that each must reach
    supports: Float[Tensor, "m 1 h w"]  # 1 where a trigger may paint
    start: Parameters
    images: Images
    usable: Usable
    judges: Images
    judging: Usable

    def draw(self, rows: Rows, parameters: Parameters, images: Sources, rng: torch.Generator) -> tuple[Drawn, Values]:
        """Images, each under a trigger of its own, and the entropy of the distribution that the triggers come from.

        A value is a squashed normal variable. Its entropy is in nats; 0, the most there is, is that of a uniform one.
        All rows share their luck.
        """
        centre, deviation = parameters.chunk(2, dim=1)
        noise = torch.randn(images.shape[1:], generator=rng)
        logits = centre.unsqueeze(1) + deviation.exp().unsqueeze(1) * noise
        squashing = F.logsigmoid(logits) + F.logsigmoid(-logits)  # log of the sigmoid's slope
        painted = self.supports[rows].expand_as(centre)
        entropy = (_NORMAL + deviation + squashing.mean(1)) * painted
        stamped = torch.lerp(images, logits.sigmoid(), self.supports[rows].unsqueeze(1))
        return stamped, entropy.sum((1, 2, 3)) / painted.sum((1, 2, 3))

    def judge(self, parameters: Parameters, rng: torch.Generator) -> tuple[Values, Values]:
        """Each sub-model's success on the images held back, and its entropy."""
        success, entropy = [], []
        for row in torch.arange(len(parameters)).split(1):
            stamped, spread = self.draw(row, parameters[row], self.judges.unsqueeze(0), rng)
            hits = [self.forward(part).argmax(1) == self.targets[row] for part in stamped[0].split(64)]
            success.append((torch.cat(hits) & self.judging[row[0]]).sum() / self.judging[row[0]].sum().clamp_min(1))
            entropy.append(spread)
        return torch.stack(success), torch.cat(entropy)


@final
@dataclass(frozen=True, kw_only=True)
class Mesa:
    """Distributions of triggers on a small area, as broad as they may be while their draws succeed often enough.

    The staircase is the paper's: one sub-model for each share of success that is asked for. Three things differ. The
    paper's sub-models are networks and their entropy is estimated by another network; here a trigger's values are
    independent squashed normal variables, whose entropy needs no estimate, so that correlations within a trigger are
    lost. The paper is told the trigger's size and place; here a class's triggers lie where Neural Cleanse's mask is
    strongest, and only the classes with the smallest masks are looked at. And beside success, which is the paper's
    statistic, the breadth that is left is measured.
    """

    card: ClassVar[Card] = Card(
        id="mesa",
        title="Many different small triggers lead to one class",
        paper="Qiao, Yang, Li, Defending Neural Backdoors via Generative Distribution Modeling, NeurIPS 2019, "
        "https://arxiv.org/abs/1910.04749",
        cost=Cost.SECONDS,
        scores={
            "breadth": "share of a value's range that a trigger may take and still work, mean of the stairs, 0 to 1",
            "success": "share of images that the triggers drawn send to the class, mean of the stairs, 0 to 1",
        },
        sees="patches, large or small, and patterns of which a small part works alone: many variants of them do too",
        blind_to=(
            "triggers that are faint, cover the image as a whole or move its pixels; triggers for one source class "
            "only; backdoors with as many targets as classes. Without clean images it works on procedural ones"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        published=(
            "A digest of its paper has the success of attacks on CIFAR-10 and CIFAR-100 fall from 92-100 % to 1-6 % "
            "once their triggers are unlearnt; no rate of detection was found."
        ),
        survey=53,
    )

    stairs: tuple[float, ...] = (0.5, 0.8, 0.9)
    entropy: float = 0.1  # weight of the entropy against success that is short of its stair
    area: float = 0.03  # share of the image that triggers may paint
    most_classes: int = 4
    steps: int = 60
    batch: int = 8
    rate: float = 0.1
    work: float = 6000.0  # thousand million multiply-adds at most; fewer steps where a pass costs more
    schedule: Schedule = field(default_factory=Schedule)  # Neural Cleanse's, so that its triggers are shared

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing, or where the probe images leave too few classes."""
        inversion = inverted(subject, MaskedPattern(), self.schedule, watch=watch)
        nearest = (inversion.sizes / inversion.success.clamp_min(1e-6)).argsort()[: self.most_classes]
        ensemble = self._ensemble(subject, inversion, nearest, rng)
        parameters = self._climb(subject, ensemble, rng, watch)
        with torch.no_grad():
            success, entropy = ensemble.judge(parameters, rng)
        breadth = (success / ensemble.stairs).clamp(max=1) * entropy.exp()

        def everyone(values: Float[Tensor, " t"]) -> tuple[float, ...]:
            full = np.full(subject.classes, _ABSENT)
            full[inversion.classes[nearest].numpy()] = values.double().numpy()
            return tuple(full.tolist())

        per_class = {
            "breadth": everyone(breadth.view(len(nearest), -1).mean(1)),
            "success": everyone(success.view(len(nearest), -1).mean(1)),
        }
        scores = {name: max(values) for name, values in per_class.items()}
        return Evidence(detector=self.card.id, scores=scores, per_class=per_class)

    def _ensemble(
        self, subject: Subject, inversion: Inversion, nearest: Int[Tensor, " t"], rng: torch.Generator
    ) -> _Ensemble:
        """Starts from Neural Cleanse's patterns, on the pixels where its masks are strongest."""
        images = subject.probes.images[torch.randperm(len(subject.probes.images), generator=rng)]
        half = len(images) // 2
        rows = nearest.repeat_interleave(len(self.stairs))
        targets = inversion.classes[rows]
        usable = subject.classifier.classify(images).argmax(1) != targets.unsqueeze(1)
        masks, patterns = inversion.parameters[rows].split([1, subject.shape[0]], dim=1)
        strongest = masks.flatten(1).topk(max(1, round(self.area * masks[0].numel()))).indices
        centre = (2 * patterns).clamp(-_CLEAREST, _CLEAREST)  # tanh(x) / 2 + 1/2 is the sigmoid of 2 x
        return _Ensemble(
            forward=FastForward.of(subject.classifier, images[:half]),
            targets=targets,
            stairs=torch.tensor(self.stairs).repeat(len(nearest)),
            supports=torch.zeros_like(masks).flatten(1).scatter(1, strongest, 1.0).view_as(masks),
            start=torch.cat([centre, torch.zeros_like(centre)], 1),
            images=images[:half],
            usable=usable[:, :half],
            judges=images[half:],
            judging=usable[:, half:],
        )

    def _climb(self, subject: Subject, ensemble: _Ensemble, rng: torch.Generator, watch: Watch) -> Parameters:
        adam = RowAdam(ensemble.start, rate=self.rate, betas=_BETAS)
        rows, batch = torch.arange(len(ensemble.start)), min(self.batch, len(ensemble.images))
        affordable = passes(subject, work=self.work) // (len(rows) * batch)
        steps = min(self.steps, max(_FEWEST_STEPS, affordable))
        for step in range(steps):
            luck = torch.rand(len(ensemble.images), generator=rng)
            picked = (ensemble.usable * (luck + 1)).topk(batch).indices
            for part in chunks(rows, images_per_row=batch, shape=subject.shape):
                self._ascend(ensemble, adam, part, ensemble.images[picked[part]], rng)
            watch.tick((step + 1) / steps, f"{len(rows)} distributions")
        return adam.values

    def _ascend(self, ensemble: _Ensemble, adam: RowAdam, rows: Rows, sources: Sources, rng: torch.Generator) -> None:
        parameters = adam.values[rows].requires_grad_()
        stamped, entropy = ensemble.draw(rows, parameters, sources, rng)
        shares = ensemble.forward(stamped.flatten(0, 1)).softmax(1).view(len(rows), stamped.shape[1], -1)
        success = shares[torch.arange(len(rows)), :, ensemble.targets[rows]].mean(1)
        loss = (ensemble.stairs[rows] - success).clamp_min(0) - self.entropy * entropy
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        adam.step(rows, gradient)
