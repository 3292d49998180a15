"""All that a report says, as data: what was counted, and every figure with the number of models behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from modelscan_bd import __version__
from modelscan_bd.bench import table
from modelscan_bd.bench.calibrate import FEWEST
from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.facts import learnt_from
from modelscan_bd.bench.groups import groups
from modelscan_bd.bench.protocol import SORTS
from modelscan_bd.bench.report import verdicts
from modelscan_bd.bench.report.power import KIND, Power, Reading, by_group, macro, power
from modelscan_bd.bench.report.verdicts import Measured
from modelscan_bd.bench.store import Result
from modelscan_bd.bench.table import Line
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Tier

SHIPPED = "the rules that ship"
FIRST = "configuration"  # what is left out in the account that is printed first


@final
@dataclass(frozen=True, kw_only=True)
class Counts:
    """Models, and of what sorts they are."""

    outcomes: Mapping[str, int]
    attacks: Mapping[str, int]  # of the infected ones
    datasets: Mapping[str, int]
    networks: Mapping[str, int]
    tiers: Mapping[str, int]

    @classmethod
    def of(cls, results: Iterable[Result]) -> Counts:
        truths = {result["model"]: result["truth"] for result in results}.values()
        infected = [truth["attack"] for truth in truths if truth["outcome"] == Outcome.INFECTED]
        return cls(
            outcomes={o.value: sum(truth["outcome"] == o for truth in truths) for o in Outcome},
            attacks=_counted(infected),
            datasets=_counted(truth["dataset"] for truth in truths),
            networks=_counted(truth["arch"] for truth in truths),
            tiers=_counted(str(result["tier"]) for result in results),
        )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


@final
@dataclass(frozen=True, kw_only=True)
class Account:
    """The error rates of the verdict under one tier, each model judged by benign ones of another sort."""

    tier: Tier
    left_out: str  # the sort, or SHIPPED where the rules' own models judged
    measured: int  # benign and infected models
    whole: Power
    macro: float | None  # mean AUROC of the kinds that count
    groups: Mapping[str, Mapping[str, Power]]
    missing: str  # why there are no figures, or nothing


@final
@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What is left of the verdict without some of its scores."""

    tier: Tier
    title: str
    scores: int
    whole: Power
    macro: float | None


@final
@dataclass(frozen=True, kw_only=True)
class Document:
    """`accounts` begin with the one that leaves attack families and configurations out."""

    tool: str
    suite: str
    date: str
    counts: Counts
    accounts: tuple[Account, ...]
    shipped: tuple[Account, ...]
    ablations: tuple[Ablation, ...]
    by_kind: Mapping[Tier, tuple[Line, ...]]  # every score
    by_attack: Mapping[Tier, tuple[Line, ...]]  # of each detector its best score
    readings: tuple[Reading, ...]  # of the first account
    shipped_readings: tuple[Reading, ...]
    results: tuple[Result, ...]


def document(results: Sequence[Result], book: Rulebook, *, suite: str, date: str) -> Document:
    """`results` hold one result for each model and tier."""
    rng = np.random.default_rng(0)
    measured = Measured.of(results, book)
    tiers = [tier for tier in Tier if any(result["tier"] is tier for result in results)]
    readings = verdicts.among_themselves(measured, FIRST)
    others = {sort: verdicts.among_themselves(measured, sort) for sort in SORTS if sort != FIRST}
    shipped = verdicts.by_the_rules_that_ship(measured)
    kinds = groups()
    by_kind = {tier: tuple(table.lines(_of(results, tier), lambda id: kinds.get(id, id))) for tier in tiers}
    return Document(
        tool=f"bdscan {__version__}",
        suite=suite,
        date=date,
        counts=Counts.of(results),
        accounts=tuple(
            _account(measured, tier, sort, found, rng)
            for sort, found in ({FIRST: readings} | others).items()
            for tier in tiers
        ),
        shipped=tuple(_account(measured, tier, SHIPPED, shipped, rng) for tier in tiers),
        ablations=tuple(_ablations(measured, by_kind, rng)) if readings else (),
        by_kind=by_kind,
        by_attack={tier: tuple(_by_attack(_of(results, tier), by_kind[tier])) for tier in tiers},
        readings=tuple(readings),
        shipped_readings=tuple(shipped),
        results=tuple(results),
    )


def _of(results: Iterable[Result], tier: Tier) -> list[Result]:
    return [result for result in results if result["tier"] is tier]


def _account(
    measured: Measured, tier: Tier, left_out: str, readings: Iterable[Reading], rng: np.random.Generator
) -> Account:
    here = _of_tier(readings, tier)
    models = [model for model in measured.models if model.tier is tier]
    found = by_group(here, rng)
    return Account(
        tier=tier,
        left_out=left_out,
        measured=len(models),
        whole=power(here, rng),
        macro=macro(found[KIND]),
        groups=found,
        missing="" if here else _missing(left_out, sum(not model.infected for model in models)),
    )


def _missing(left_out: str, benign: int) -> str:
    if left_out == SHIPPED:
        return (
            f"Needs {FEWEST} benign models among those of the rules that were measured in the same way and are of no "
            "configuration that was measured here, and there are fewer."
        )
    return f"Needs {FEWEST} benign models that do not share the {left_out}; of {benign} measured, too few are left."


def _of_tier(readings: Iterable[Reading], tier: Tier) -> list[Reading]:
    return [reading for reading in readings if reading.seen.model.tier is tier]


def _by_attack(results: Sequence[Result], lines: Iterable[Line]) -> Iterator[Line]:
    """Of each detector the score that tells most over all attacks, attack by attack."""
    best = {line.detector: line.score for line in table.best(lines)}
    few = [
        {**result, "scores": {d: {best[d]: v[best[d]]} for d, v in result["scores"].items() if best.get(d) in v}}
        for result in results
    ]
    return table.lines(few, str)


def _ablations(
    measured: Measured, by_kind: Mapping[Tier, Sequence[Line]], rng: np.random.Generator
) -> Iterator[Ablation]:
    for tier, lines in by_kind.items():
        for title, keys in _subsets(measured, lines).items():
            here = _of_tier(verdicts.among_themselves(measured, FIRST, keys, targets=False), tier)
            if here:
                kinds = by_group(here, rng)[KIND]
                yield Ablation(tier=tier, title=title, scores=len(keys), whole=power(here, rng), macro=macro(kinds))


def _subsets(measured: Measured, lines: Iterable[Line]) -> dict[str, tuple[str, ...]]:
    """Scores that might count alone, by what one would call them."""
    single = [key for line in table.best(lines) if (key := f"{line.detector}.{line.score}") in measured.keys]
    chosen = {f"best single score, {single[0]}": (single[0],)} if single else {}
    return {
        "all scores that count": measured.keys,
        "without verification": verdicts.without(measured, ["verification"]),
        "without meta-classifiers": verdicts.without(measured, learnt_from()),
        **chosen,
    }
