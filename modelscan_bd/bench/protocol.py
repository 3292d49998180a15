"""How well known models are told apart when none is judged by its own kind.

Each model is judged as a scan would, by benign models that share nothing of one sort with it: not its configuration
(data set, network and recipe, whatever the seed), its data set, its network or its recipe. Infected models set no
level, so that an attack's family is never on both sides by itself; what a meta-classifier has learnt from is not in
the table at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np

from modelscan_bd import comparison, known, stats
from modelscan_bd.known import KnownModel
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.standing import Standing, standing
from modelscan_bd.types import Severity, Tier

Sort = Callable[[KnownModel], object]

SORTS: Mapping[str, Sort] = MappingProxyType(
    {
        "configuration": lambda model: (model.dataset, model.arch, model.recipe),
        "data set": lambda model: model.dataset,
        "network": lambda model: model.arch.partition("-")[0],
        "recipe": lambda model: model.recipe,
    }
)
_BOOTSTRAPS = 1000


@final
@dataclass(frozen=True, kw_only=True)
class Seen:
    """A known model and how it was judged."""

    model: KnownModel
    standing: Standing
    severity: Severity | None  # None: as benign models are
    score: float  # 0..1
    shown: bool = False  # one score alone says infected


@final
@dataclass(frozen=True, kw_only=True)
class Rate:
    """So many of so many, with the 95 % Wilson interval."""

    count: int
    n: int

    @property
    def share(self) -> float:
        return self.count / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        low, high = stats.wilson(self.count, self.n) if self.n else (0.0, 1.0)
        return round(low, 4), round(high, 4)


def judged(models: Iterable[KnownModel], sort: Sort, book: Rulebook, scores: Iterable[str]) -> list[Seen]:
    """Every model that has benign ones enough to be compared with, by those of its scores that count."""
    everyone, counting = list(models), frozenset(scores)
    found = (_seen(model, [m for m in everyone if sort(m) != sort(model)], book, counting) for model in everyone)
    return [one for one in found if one is not None]


def _seen(model: KnownModel, others: Sequence[KnownModel], book: Rulebook, counting: frozenset[str]) -> Seen | None:
    rule, shown = book.verdict, comparison.is_shown(model, book.shown)
    scores = {key: value for key, value in model.scores.items() if key in counting}
    pool = known.pool(others, model.traits, model.tier, scores.keys(), rule.strata)
    if not scores or comparison.too_few(pool, rule):
        return None
    stands = standing(scores, [one.scores for one in pool.benign])
    return Seen(
        model=model,
        standing=stands,
        severity=Severity.HIGH if shown else comparison.grade(stands, rule),
        score=1.0 if shown else comparison.suspicion(stands, rule),
        shown=shown,
    )


# ---------------------------------------------------------------- figures


def of_tier(seen: Iterable[Seen], tier: Tier) -> list[Seen]:
    return [one for one in seen if one.model.tier is tier]


def alarms(seen: Sequence[Seen], *, infected: bool, only_infected: bool = False) -> Rate:
    """How many of the benign or infected models were called suspicious or worse, or infected only."""
    group = [one for one in seen if one.model.infected is infected]
    called = [one for one in group if one.severity and (not only_infected or one.severity is Severity.HIGH)]
    return Rate(count=len(called), n=len(group))


def auroc(seen: Sequence[Seen], kind: str | None = None) -> float | None:
    """How well the mean deviation tells benign models from infected ones, of one kind or of all."""
    benign, infected = sides(seen, kind)
    return stats.auroc(benign, infected) if benign and infected else None


def auroc_interval(seen: Sequence[Seen], kind: str | None, rng: np.random.Generator) -> tuple[float, float]:
    benign, infected = sides(seen, kind)
    return stats.bootstrap(stats.auroc, benign, infected, rng=rng, rounds=_BOOTSTRAPS)


def sides(seen: Sequence[Seen], kind: str | None = None) -> tuple[list[float], list[float]]:
    """The mean deviations of benign and of infected models, beyond all others where one score alone says infected."""
    benign = [_deviation(one) for one in seen if not one.model.infected]
    return benign, [_deviation(one) for one in seen if one.model.infected and kind in (None, one.model.kind)]


def _deviation(one: Seen) -> float:
    return math.inf if one.shown else one.standing.together


def kinds(seen: Iterable[Seen]) -> tuple[str, ...]:
    return tuple(sorted({one.model.kind for one in seen if one.model.infected}))
