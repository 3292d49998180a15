"""Teaches litmus tests on a zoo's models. The models are frozen; learnt are images and a reader of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F

from modelscan_bd import litmus, loading
from modelscan_bd.bench.card import FILE, Outcome, TrainedCard
from modelscan_bd.bench.measure import models
from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import UsageError
from modelscan_bd.litmus import LitmusTest
from modelscan_bd.shared import generator
from modelscan_bd.types import Checkpoint, Preprocessing, Watch

STEPS = 80
BATCH = 8  # models per step, half of them infected
_RATE, _PIXEL_RATE, _DECAY = 0.01, 0.1, 0.01
_SPARED = 4  # of the benign models of an architecture that is trained on, one in so many is held out too


class Kind(StrEnum):
    ULP = "ulp"
    MNTD = "mntd"


@final
@dataclass(frozen=True, kw_only=True)
class Example:
    """A model of the zoo, and the truth about it."""

    card: TrainedCard
    classifier: Classifier

    @property
    def infected(self) -> bool:
        return self.card.outcome is Outcome.INFECTED


@final
@dataclass(frozen=True, kw_only=True)
class Split:
    """What is trained on, and what was held out."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]


# ---------------------------------------------------------------- the models


def examples(zoo: Path, datasets: Sequence[str] = ()) -> Iterator[Example]:
    """The zoo's benign and infected models, of these data sets or of all; no weak ones."""
    for folder in models(zoo):
        card = TrainedCard.read(folder / FILE)
        if card.outcome in (Outcome.BENIGN, Outcome.INFECTED) and (not datasets or card.dataset in datasets):
            checkpoint = loading.load(str(folder / card.file), arch=None, weights=None)
            yield Example(card=card, classifier=_classifier(checkpoint, card))


def _classifier(checkpoint: Checkpoint, card: TrainedCard) -> Classifier:
    """As the card says: nothing needs to be found out."""
    return Classifier(
        net=checkpoint.net,
        preprocessing=Preprocessing(mean=card.mean, std=card.std, source="metadata"),
        classes=len(card.class_names),
        shape=card.input,
        output=checkpoint.output,
        differentiable=checkpoint.differentiable,
    )


def split(found: Sequence[Example], *, archs: Sequence[str], attacks: Sequence[str], seed: int) -> Split:
    """Holds out what is named and, if anything is, a share of the other benign models to compare it with.

    Raises UsageError for a name that no model has.
    """
    if missing := {*archs, *attacks} - {name for example in found for name in (example.card.arch, example.card.attack)}:
        raise UsageError(f"there is no model of '{min(missing)}' to hold out")
    named = [example.card.arch in archs or example.card.attack in attacks for example in found]
    spared: set[int] = set()
    if any(named):
        benign = [i for i, example in enumerate(found) if not (named[i] or example.infected)]
        order = torch.randperm(len(benign), generator=generator(seed, "split")).tolist()
        spared = {benign[i] for i in order[: len(benign) // _SPARED]}
    out = [named[i] or i in spared for i in range(len(found))]
    return Split(
        train=tuple(example for example, held in zip(found, out, strict=True) if not held),
        held_out=tuple(example for example, held in zip(found, out, strict=True) if held),
    )


# ---------------------------------------------------------------- learning


def learn(kind: Kind, train: Sequence[Example], *, steps: int, seed: int, watch: Watch) -> dict[str, LitmusTest]:
    """The tests of a detector, by name. Raises UsageError where there are too few models of one side."""
    infected = sum(example.infected for example in train)
    if infected < 1 or len(train) - infected < 2:
        raise UsageError(
            f"there are {infected} infected and {len(train) - infected} benign models to learn from; "
            "at least one and two are needed"
        )
    rng = generator(seed, f"train {kind}")
    if kind is Kind.ULP:
        return {"litmus": _tuned(litmus.SpectrumTest(rng=rng), train, steps, rng, watch)}
    usual = litmus.UsualTest(rng=rng)
    usual.settle()
    usual.fit([example.classifier for example in train if not example.infected])
    return {"jumbo": _tuned(litmus.ClassTest(rng=rng), train, steps, rng, watch), "one_class": usual}


def _tuned(test: LitmusTest, train: Sequence[Example], steps: int, rng: torch.Generator, watch: Watch) -> LitmusTest:
    """Images and reader together, by the cross-entropy of the verdicts on batches that are half infected."""
    readers = [value for name, value in test.named_parameters() if name != "canvas"]
    optimiser = torch.optim.AdamW(
        [{"params": readers, "lr": _RATE}, {"params": [test.canvas], "lr": _PIXEL_RATE, "weight_decay": 0.0}],
        weight_decay=_DECAY,
    )
    for step in range(steps):
        optimiser.zero_grad()
        batch = _batch(train, rng)
        for example in batch:
            verdict = test(example.classifier, rng).amax()
            truth = torch.tensor(float(example.infected))
            (F.binary_cross_entropy_with_logits(verdict, truth) / len(batch)).backward()
        optimiser.step()
        watch.tick((step + 1) / steps, f"step {step + 1}")
    test.settle()
    return test


def _batch(train: Sequence[Example], rng: torch.Generator) -> list[Example]:
    sides = [[example for example in train if example.infected is infected] for infected in (False, True)]
    return [side[int(i)] for side in sides for i in torch.randint(len(side), (BATCH // 2,), generator=rng)]
