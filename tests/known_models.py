"""Tables of known models for tests of judging: numbers of a known law, which is all that judging sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelscan_bd.known import KnownModel
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Calibration, Promise, Rule, Strata, Tier, Traits, VerdictRule

TRAITS = Traits(family="convolutional", classes=10, size=32)
VERDICT = VerdictRule(
    id="BD100",
    title="Unlike benign models",
    why="why",
    remedy="whole remedy",
    paper="paper",
    suspicious=0.05,
    infected=0.01,
    strata=Strata(least=30, classes=(20,), size=(64,)),
    promise=Promise(
        suite="s", method="m", benign=80, infected=80, false_alarms=0.0, interval=(0.0, 0.046), false_infected=0.0,
        infected_interval=(0.0, 0.046), auroc=None, date="d",
    ),
)  # fmt: skip


def rule(detector: str, score: str = "x", id: str = "BD201") -> Rule:
    base = Calibration(suite="s", benign=80, infected=80, auroc=0.9, interval=(0.8, 1.0), date="d")
    return Rule(
        id=id, detector=detector, score=score, title=f"{detector} stands out", why="why", remedy=f"look at {detector}",
        paper="paper", calibration=base,
    )  # fmt: skip


RULES = tuple(rule(name, id=f"BD20{i}") for i, name in enumerate("abcd", start=1))


def drawn(count: int, *, seed: int = 0, raised: float = 0.0, **more: object) -> list[KnownModel]:
    """Models with four Gumbel scores each, raised by so much."""
    rng = np.random.default_rng(seed)
    facts: dict[str, object] = {
        "tier": Tier.IMAGES, "dataset": "signs", "arch": "cnn-w8", "recipe": "r", "traits": TRAITS, "infected": False,
    }  # fmt: skip
    return [
        KnownModel(name=f"m{seed}-{i}", scores=_scores(row + raised), **(facts | more))  # type: ignore[arg-type]
        for i, row in enumerate(rng.gumbel(size=(count, len(RULES))))
    ]


def _scores(row: np.ndarray) -> Mapping[str, float]:
    return {one.key: float(value) for one, value in zip(RULES, row, strict=True)}


def book(known: list[KnownModel]) -> Rulebook:
    return Rulebook(verdict=VERDICT, measured=RULES, graph=(), file=(), known=tuple(known))
