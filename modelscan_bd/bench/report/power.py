"""How well verdicts tell infected models from benign ones: of all models, and of groups of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import final

import numpy as np

from modelscan_bd import stats
from modelscan_bd.bench import protocol
from modelscan_bd.bench.calibrate import FEWEST
from modelscan_bd.bench.protocol import Rate, Seen
from modelscan_bd.bench.resampling import Interval, auroc_interval
from modelscan_bd.bench.store import Result
from modelscan_bd.bench.table import level

FEW = 3  # models; a figure of fewer is no more than an anecdote
OUT_OF_MEAN = ("no trigger",)  # kinds that are shown, and left out of the mean: no image makes them misbehave


@final
@dataclass(frozen=True, kw_only=True)
class Reading:
    """A measured model, and how it was judged."""

    result: Result
    seen: Seen
    named: int | None  # the class that its verdict names first

    @property
    def value(self) -> float:
        """By which models are ranked: the mean deviation of their scores."""
        return self.seen.standing.together

    @property
    def infected(self) -> bool:
        return self.seen.model.infected


@final
@dataclass(frozen=True, kw_only=True)
class Power:
    """None: there are too few models."""

    benign: int  # models
    infected: int
    auroc: float | None
    interval: Interval | None  # of that, 95 %, by bootstrap over models
    at_five: Rate | None  # infected models above all but 5 % of the benign ones
    caught: Rate  # infected models called suspicious or worse
    false_alarms: Rate  # benign ones
    false_infected: Rate  # benign models called infected
    named: Rate  # of the infected models that were caught and have one target class: those whose verdict names it first


Grouping = Callable[[Reading], str]

ATTACKS: Mapping[str, Grouping] = MappingProxyType(  # of the infected models; each is set against all benign ones
    {
        "kind of trigger": lambda reading: reading.seen.model.kind,
        "attack": lambda reading: reading.seen.model.attack,
        "poisoning rate": lambda reading: _rate(reading.result["truth"].get("poisoning_rate")),
    }
)
PLACES: Mapping[str, Grouping] = MappingProxyType(  # of benign and infected models alike
    {
        "data set": lambda reading: reading.seen.model.dataset,
        "network": lambda reading: reading.seen.model.arch,
    }
)
KIND = "kind of trigger"


def _rate(share: float | None) -> str:
    """The share of poisoned training images, roughly."""
    if not share:
        return "no poisoned images"
    for limit in (0.01, 0.05, 0.1):
        if share <= limit:
            return f"at most {limit:.0%}"
    return "above 10%"


def power(readings: Sequence[Reading], rng: np.random.Generator) -> Power:
    """Of these models."""
    seen = [reading.seen for reading in readings]
    benign = [reading.value for reading in readings if not reading.infected]
    infected = [reading.value for reading in readings if reading.infected]
    return Power(
        benign=len(benign),
        infected=len(infected),
        auroc=stats.auroc(benign, infected) if benign and infected else None,
        interval=auroc_interval(benign, infected, rng=rng) if min(len(benign), len(infected)) >= FEW else None,
        at_five=_at_five(benign, infected),
        caught=protocol.alarms(seen, infected=True),
        false_alarms=protocol.alarms(seen, infected=False),
        false_infected=protocol.alarms(seen, infected=False, only_infected=True),
        named=_named(readings),
    )


def _at_five(benign: Sequence[float], infected: Sequence[float]) -> Rate | None:
    if len(benign) < FEWEST:
        return None
    return Rate(count=sum(value > level(benign) for value in infected), n=len(infected))


def _named(readings: Sequence[Reading]) -> Rate:
    aimed = [r for r in readings if r.infected and r.seen.severity and r.result["truth"]["target_label"] is not None]
    return Rate(count=sum(r.named == r.result["truth"]["target_label"] for r in aimed), n=len(aimed))


def by_group(readings: Sequence[Reading], rng: np.random.Generator) -> dict[str, dict[str, Power]]:
    """For each way of grouping, the power of each of its groups."""
    benign = [reading for reading in readings if not reading.infected]
    infected = [reading for reading in readings if reading.infected]
    of_attacks = {
        title: {name: power([*benign, *group], rng) for name, group in _split(infected, grouping).items()}
        for title, grouping in ATTACKS.items()
    }
    of_places = {
        title: {name: power(group, rng) for name, group in _split(readings, grouping).items()}
        for title, grouping in PLACES.items()
    }
    return of_attacks | of_places


def _split(readings: Sequence[Reading], grouping: Grouping) -> dict[str, list[Reading]]:
    names = sorted({grouping(reading) for reading in readings})
    return {name: [reading for reading in readings if grouping(reading) == name] for name in names}


def macro(kinds: Mapping[str, Power]) -> float | None:
    """The mean of the AUROCs of the kinds that count."""
    found = [one.auroc for kind, one in kinds.items() if kind not in OUT_OF_MEAN and one.auroc is not None]
    return fmean(found) if found else None
