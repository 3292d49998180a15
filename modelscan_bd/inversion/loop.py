"""The one trigger-inversion loop. All candidate classes are optimised together; what a trigger is, is a hole in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modelscan_bd.errors import CannotMeasure
from modelscan_bd.inversion.families import Family, Masks, Parameters, Patterns, Sources
from modelscan_bd.inversion.optimiser import RowAdam
from modelscan_bd.inversion.schedule import Pressure, Rows, Schedule, Stop, Values, hopeless
from modelscan_bd.passes import FastForward, chunks, require_gradients
from modelscan_bd.types import Images, Subject, Watch

Eligible: TypeAlias = Bool[Tensor, "r n"]

_FEWEST_SOURCES = 4  # images of other classes that a class needs in each half


@final
@dataclass(frozen=True, kw_only=True)
class Inversion:
    """The smallest trigger found for each class of `classes`; every field has one entry for each of these."""

    classes: Int[Tensor, " r"]
    sizes: Values  # pixels; as large as the image where no trigger worked
    success: Values  # share of held-back images of other classes that the trigger sends to its class
    masks: Masks
    patterns: Patterns
    steps: tuple[int, ...]
    stops: tuple[Stop, ...]


def invert(subject: Subject, family: Family, schedule: Schedule, *, rng: torch.Generator, watch: Watch) -> Inversion:
    """Looks for the smallest trigger of each class: one that sends the images of all other classes to it.

    One half of the probe images is optimised on; the other half only judges. An image that the network already puts
    into a class is not used for that class. Classes that too few images can be turned into are left out.
    Raises CannotMeasure where there are no gradients, or where fewer than three classes are left to compare.
    """
    require_gradients(subject.classifier, subject.probes.images)
    images = subject.probes.images[torch.randperm(len(subject.probes.images), generator=rng)]
    field = _Field.of(subject, images, schedule)
    search = _Search(field, family, schedule, family.start(subject.shape, rng))
    search.run(rng, watch)
    return search.result()


@final
@dataclass(frozen=True, kw_only=True)
class _Field:
    """What is searched: candidate classes, and which images may be used for each."""

    forward: FastForward
    classes: Int[Tensor, " r"]
    images: Images
    eligible: Eligible  # for optimising on
    judges: Images
    judging: Eligible  # for measuring success on

    @classmethod
    def of(cls, subject: Subject, images: Images, schedule: Schedule) -> _Field:
        logits = subject.classifier.classify(images)
        eligible = logits.argmax(1) != torch.arange(subject.classes, device=images.device).unsqueeze(1)
        half = len(images) // 2
        enough = torch.minimum(eligible[:, :half].sum(1), eligible[:, half:].sum(1)) >= _FEWEST_SOURCES
        nearness = torch.where(enough, logits.log_softmax(1).mean(0), -torch.inf)
        classes = nearness.topk(min(schedule.most_classes, int(enough.sum()))).indices.sort().values
        if len(classes) < 3:
            raise CannotMeasure("the network puts almost all images into one class, so no class stands out from others")
        return cls(
            forward=FastForward.of(subject.classifier, images[:half]),
            classes=classes,
            images=images[:half],
            eligible=eligible[classes, :half],
            judges=images[half:],
            judging=eligible[classes, half:],
        )


@final
class _Search:
    """The state of one search; rows are positions in `field.classes`."""

    def __init__(self, field: _Field, family: Family, schedule: Schedule, start: Float[Tensor, "p h w"]) -> None:
        rows = len(field.classes)
        self.field, self.family, self.schedule = field, family, schedule
        self.adam = RowAdam(start.expand(rows, *start.shape), rate=schedule.rate, betas=schedule.betas)
        self.pressure = Pressure(schedule, rows)
        self.best: Parameters = self.adam.values.clone()
        self.whole = float(start.shape[-2] * start.shape[-1])
        self.sizes = torch.full((rows,), self.whole)
        self.stops = [Stop.BUDGET] * rows

    def run(self, rng: torch.Generator, watch: Watch) -> None:
        active, before = torch.arange(len(self.sizes)), self.sizes.clone()
        for step in range(1, self.schedule.steps + 1):
            draw = torch.rand(len(self.field.images), generator=rng)  # shared, so that no class is favoured
            self._step(active, draw)
            if step % self.schedule.round == 0:
                active = self._still_worth_it(active, before, (self.schedule.steps - step) // self.schedule.round)
                before = self.sizes.clone()
            watch.tick(step / self.schedule.steps, f"{len(active)} of {len(self.sizes)} classes left")
            if not len(active):
                return

    def _step(self, active: Rows, draw: Float[Tensor, " n"]) -> None:
        batch = min(self.schedule.batch, len(draw))
        picked = (self.field.eligible[active] * (draw + 1)).topk(batch).indices
        for part in chunks(torch.arange(len(active)), images_per_row=batch, shape=self.field.images.shape[1:]):
            self._descend(active[part], self.field.images[picked[part]])

    def _descend(self, rows: Rows, sources: Sources) -> None:
        candidates = self.adam.values[rows].requires_grad_()
        logits = self._logits(candidates, sources)
        targets = self.field.classes[rows].unsqueeze(1).expand(logits.shape[:2])
        misses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets).mean(1)
        loss = misses + self.pressure.weight[rows] * self.family.penalty(candidates)
        (gradient,) = torch.autograd.grad(loss.sum(), candidates)
        self._remember(rows, candidates.detach(), (logits.argmax(2) == targets).float().mean(1))
        self.adam.step(rows, gradient)

    def _logits(self, candidates: Parameters, sources: Sources) -> Float[Tensor, "r n k"]:
        stamped = self.family.stamp(candidates, sources)
        return self.field.forward(stamped.flatten(0, 1)).unflatten(0, stamped.shape[:2])

    def _remember(self, rows: Rows, candidates: Parameters, success: Values) -> None:
        """Keeps a trigger that has just worked several times in a row, if none of its class was smaller."""
        works, sizes = self.pressure.update(rows, success), self.family.size(candidates)
        better = works & (sizes < self.sizes[rows])
        self.sizes[rows[better]], self.best[rows[better]] = sizes[better], candidates[better]

    def _still_worth_it(self, active: Rows, before: Values, rounds_left: int) -> Rows:
        sizes, earlier = self.sizes[active], before[active]
        rival = self.sizes.sort().values[math.ceil(self.schedule.contenders * len(self.sizes))].item()
        settled = (earlier < self.whole) & (sizes > (1 - self.schedule.settled) * earlier)
        given_up = hopeless(sizes, earlier, rival, rounds_left) & (earlier < self.whole)
        for row, done in zip(active.tolist(), settled.tolist(), strict=True):
            self.stops[row] = Stop.SETTLED if done else self.stops[row]
        for row, done in zip(active.tolist(), (given_up & ~settled).tolist(), strict=True):
            self.stops[row] = Stop.HOPELESS if done else self.stops[row]
        return active[~(settled | given_up)]

    def result(self) -> Inversion:
        with torch.no_grad():
            return Inversion(
                classes=self.field.classes,
                sizes=self.sizes,
                success=self._judge(),
                masks=self.family.masks(self.best),
                patterns=self.family.patterns(self.best),
                steps=tuple(self.adam.steps.tolist()),
                stops=tuple(self.stops),
            )

    def _judge(self) -> Values:
        parts = []
        for part in chunks(
            torch.arange(len(self.best)), images_per_row=len(self.field.judges), shape=self.field.judges.shape[1:]
        ):
            sources = self.field.judges.expand(len(part), *self.field.judges.shape)
            hits = self._logits(self.best[part], sources).argmax(2) == self.field.classes[part].unsqueeze(1)
            allowed = self.field.judging[part]
            parts.append((hits & allowed).sum(1) / allowed.sum(1))
        return torch.cat(parts)
