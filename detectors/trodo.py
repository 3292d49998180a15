"""TRODO: how much surer do strange images become of a class under a tiny change? A trigger's traces lend confidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from modelscan_bd.budget import passes
from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.near_miss import near_misses
from modelscan_bd.passes import FastForward, images_per_pass, require_gradients
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Logits, ProbeSource, Subject, Watch

PerImage = Float[Tensor, " n"]

_FEWEST = 24  # images, however much a pass costs
_SMALLEST = 1e-6
_SIDES = (0.1, 0.6)  # of a square that is changed at random, as shares of the image's shorter side


@final
@dataclass(frozen=True, kw_only=True)
class Trodo:
    """Climbs from near-miss images to whatever class is nearest, within `reach`, and compares before and after.

    The paper climbs the largest softmax value; the log odds climbed here have the same slope's sign and do not fade
    where the softmax is saturated. Its confidence gain depends on a network's temperature, which mixup and label
    smoothing change; the margin gain, in units of what margins already vary by over these images, does not. The paper
    sets the reach by means of networks trained for it; here it is fixed. A network without gradients is searched at
    random, as in Andriushchenko et al., Square Attack, ECCV 2020.
    """

    card: ClassVar[Card] = Card(
        id="trodo",
        title="Strange images become sure of a class after a tiny change",
        paper="Mirzaei et al., TRODO, NeurIPS 2024, https://arxiv.org/abs/2501.17151",
        cost=Cost.SECONDS,
        scores={
            "confidence_gain": "mean rise of the largest probability, 0 to 1",
            "margin_gain": "mean rise of the top logit above the second, in standard deviations over the images",
            "pull": "largest rise of any class's share of the images, -1 to 1",
        },
        sees="any mapping of sources to targets, all-to-all too, if small changes can imitate parts of the trigger",
        blind_to=(
            "triggers that small changes cannot imitate. Weak: it hardly told infected from clean ones among small "
            "networks of many recipes, since the recipe moves the scores more than a backdoor does. Without clean "
            "images it starts from procedural ones, which is weaker still. Without gradients it searches at random "
            "and finds only a part of the rise, so a low value then says little"
        ),
        min_classes=2,
        effort=Effort.THOROUGH,
        published=(
            "In DISTIL's comparison on BackdoorBench's CIFAR-10 models (arXiv:2507.22813), as a digest quotes it, its "
            "accuracy was 72 to 86 %, by attack."
        ),
    )

    images: int = 64
    work: float = 1500.0  # thousand million multiply-adds; a large network gets fewer images for them
    steps: int = 10  # the paper's, as is the length of a step, 2.5 * reach / steps
    reach: float = 4 / 255
    tries: int = 60  # random changes, where there are no gradients

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where the outputs are not finite or do not depend on the image."""
        start = self._start(subject, rng)
        before = subject.classifier.classify(start)
        _require_answers(before)
        if subject.classifier.differentiable:
            require_gradients(subject.classifier, start)
            forward = FastForward.of(subject.classifier, start)
            parts = [self._climb(forward, part, rng) for part in _in_parts(start, watch)]
        else:
            parts = [self._grope(subject.classifier, part, rng) for part in _in_parts(start, watch)]
        return _evidence(self.card.id, before, subject.classifier.classify(torch.cat(parts)))

    def _start(self, subject: Subject, rng: torch.Generator) -> Images:
        """Near misses of the clean images; procedural ones are strange enough as they are."""
        each = self.steps if subject.classifier.differentiable else self.tries
        count = min(self.images, max(_FEWEST, passes(subject, work=self.work) // each))
        if subject.probes.source is ProbeSource.CLEAN:
            return near_misses(subject.probes.images, count, rng)
        return subject.probes.images[:count]

    def _climb(self, forward: FastForward, images: Images, rng: torch.Generator) -> Images:
        """Projected sign-gradient ascent from a random place within reach."""
        moved = _within(images + self.reach * (2 * torch.rand(images.shape, generator=rng) - 1), images, self.reach)
        for _ in range(self.steps):
            moved.requires_grad_()
            (gradient,) = torch.autograd.grad(_log_odds(forward(moved)).sum(), moved)
            step = 2.5 * self.reach / self.steps * gradient.sign()
            moved = _within(moved.detach() + step, images, self.reach)
        return moved

    def _grope(self, classifier: Classifier, images: Images, rng: torch.Generator) -> Images:
        """Changes a random square as far as it may, again and again, and keeps what raises the odds."""
        moved, best = images, _log_odds(classifier.classify(images))
        for _ in range(self.tries):
            signs = 2.0 * torch.randint(2, (len(images), images.shape[1], 1, 1), generator=rng) - 1
            tried = _within(torch.where(_squares(images, rng), images + self.reach * signs, moved), images, self.reach)
            odds = _log_odds(classifier.classify(tried))
            better = odds > best
            moved, best = torch.where(better.view(-1, 1, 1, 1), tried, moved), torch.maximum(odds, best)
        return moved


def _in_parts(images: Images, watch: Watch) -> Iterator[Images]:
    c, h, w = images.shape[1:]
    done = 0
    for part in images.split(images_per_pass((c, h, w))):
        yield part
        done += len(part)
        watch.tick(done / len(images), f"{done} of {len(images)} images")


def _within(moved: Images, images: Images, reach: float) -> Images:
    return torch.minimum(torch.maximum(moved, images - reach), images + reach).clamp(0, 1)


def _squares(images: Images, rng: torch.Generator) -> Bool[Tensor, "n 1 h w"]:
    """One square in each image."""
    n, _, h, w = images.shape
    least, most = _SIDES
    side = (least + (most - least) * torch.rand(n, 1, 1, 1, generator=rng)) * min(h, w)
    top, left = torch.rand(2, n, 1, 1, 1, generator=rng)
    y, x = torch.arange(h).view(1, 1, -1, 1) - top * (h - side), torch.arange(w) - left * (w - side)
    inside: Tensor = (y >= 0) & (y < side) & (x >= 0) & (x < side)
    return inside


def _log_odds(logits: Logits) -> PerImage:
    """Of the top class against all others together."""
    best, top = logits.max(1, keepdim=True)
    return best.squeeze(1) - logits.scatter(1, top, -torch.inf).logsumexp(1)


def _margin(logits: Logits) -> PerImage:
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return first - second


def _require_answers(logits: Logits) -> None:
    if not logits.isfinite().all():
        raise CannotMeasure("the network's outputs are not finite numbers")
    if _margin(logits).std() <= _SMALLEST * logits.abs().max():
        raise CannotMeasure("the network answers all images alike")


def _evidence(detector: str, before: Logits, after: Logits) -> Evidence:
    margin = _margin(before)
    sure = [logits.softmax(1).amax(1).mean() for logits in (before, after)]
    share = [logits.argmax(1).bincount(minlength=before.shape[1]).double() / len(before) for logits in (before, after)]
    pull = tuple((share[1] - share[0]).tolist())
    return Evidence(
        detector=detector,
        scores={
            "confidence_gain": float(sure[1] - sure[0]),
            "margin_gain": float((_margin(after) - margin).mean() / margin.std()),
            "pull": max(pull),
        },
        per_class={"pull": pull},
        details={"share_before": tuple(share[0].tolist()), "share_after": tuple(share[1].tolist())},
    )
