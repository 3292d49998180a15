"""Is one way of measuring better than another? Only models that both have measured count, each against itself."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from scipy import stats as scipy_stats

from modelscan_bd import stats
from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.protocol import Rate
from modelscan_bd.bench.report import verdicts
from modelscan_bd.bench.report.document import FIRST
from modelscan_bd.bench.report.verdicts import Measured
from modelscan_bd.bench.resampling import Interval, draws, middle, wins
from modelscan_bd.bench.store import Result
from modelscan_bd.bench.table import level
from modelscan_bd.errors import UsageError
from modelscan_bd.rulebook import Rulebook

FEWEST = 10  # models of either sort; among fewer, an interval by bootstrap promises too much
VERDICT = "verdict"
_ROUNDS = 2000

Values: TypeAlias = Mapping[str, float]  # by model


@final
@dataclass(frozen=True, kw_only=True)
class Side:
    """What one of the two says of the models, larger being more suspicious, and how long it took."""

    title: str
    values: Values
    seconds: Values


@final
@dataclass(frozen=True, kw_only=True)
class Power:
    """How well one side tells infected from benign models."""

    title: str
    auroc: float
    found: Rate  # infected models above all but 5 % of the benign ones


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Differences and ratios are B's to A's. Intervals are 95 %, by bootstrap over models."""

    benign: int  # models
    infected: int
    a: Power
    b: Power
    difference: float  # of the AUROCs
    interval: Interval
    only_a: int  # infected models that A finds and B does not
    only_b: int
    p: float  # of a split at least as uneven, were they equally good (exact, two-sided)
    ratio: float | None  # median over models of B's seconds to A's; None: no times
    ratio_interval: Interval | None
    answer: str


def paired(a: Sequence[Result], b: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Of either side the benign and infected models that both have: of the same name and the same file.

    Raises UsageError where they share none, or do not agree on what one is.
    """
    first, second = ({(r["model"], r["sha256"]): r for r in side if _counts(r)} for side in (a, b))
    shared = sorted(first.keys() & second.keys())
    for key in shared:
        if first[key]["truth"]["outcome"] != second[key]["truth"]["outcome"]:
            raise UsageError(f"A and B do not agree on whether '{key[0]}' is infected")
    if not shared:
        raise UsageError("A and B have measured no model in common", remedy="Give results of the same models.")
    return [first[key] for key in shared], [second[key] for key in shared]


def _counts(result: Result) -> bool:
    return result["truth"]["outcome"] in (Outcome.BENIGN, Outcome.INFECTED)


# ---------------------------------------------------------------- the two sides


def verdict(results: Sequence[Result], book: Rulebook, title: str) -> Side:
    """The mean deviation of each model from benign ones of other configurations."""
    measured = Measured.of(results, book)
    readings = verdicts.among_themselves(measured, FIRST, targets=False)
    detectors = {rule.detector for rule in book.measured}
    return Side(
        title=f"{title}, {VERDICT}",
        values={reading.result["model"]: reading.value for reading in readings},
        seconds={r["model"]: sum(s for d, s in r["seconds"].items() if d in detectors) for r in results},
    )


def single(results: Sequence[Result], score: str, title: str) -> Side:
    """`score` is detector.score. Raises UsageError where it was not measured."""
    detector, _, name = score.partition(".")
    having = [result for result in results if name in result["scores"].get(detector, {})]
    if not having:
        known = sorted({f"{d}.{s}" for result in results for d, found in result["scores"].items() for s in found})
        near = [one for one in known if one.partition(".")[0] == detector] or known
        raise UsageError(f"'{score}' was not measured in {title}", remedy=f"There are: {', '.join(near) or 'none'}.")
    return Side(
        title=f"{title}, {score}",
        values={result["model"]: result["scores"][detector][name] for result in having},
        seconds={result["model"]: result["seconds"][detector] for result in having if detector in result["seconds"]},
    )


# ---------------------------------------------------------------- the comparison


def compare(a: Side, b: Side, infected: Mapping[str, bool], *, rng: np.random.Generator) -> Comparison:
    """Raises UsageError where the models that both judge are all benign or all infected."""
    shared = sorted(a.values.keys() & b.values.keys() & infected.keys())
    benign, bad = ([model for model in shared if infected[model] is side] for side in (False, True))
    if not benign or not bad:
        raise UsageError(
            f"of the models that both judge, {len(benign)} are benign and {len(bad)} infected",
            remedy="Both are needed, and for verdicts 19 benign ones of other configurations; a --score needs fewer.",
        )
    difference, interval = _difference(a.values, b.values, benign, bad, rng)
    found = [_found(side.values, benign, bad) for side in (a, b)]
    only_a, only_b = len(found[0] - found[1]), len(found[1] - found[0])
    ratio, ratio_interval = _ratio(a.seconds, b.seconds, shared, rng)
    return Comparison(
        benign=len(benign),
        infected=len(bad),
        a=_power(a, benign, bad),
        b=_power(b, benign, bad),
        difference=difference,
        interval=interval,
        only_a=only_a,
        only_b=only_b,
        p=float(scipy_stats.binomtest(only_b, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        ratio=ratio,
        ratio_interval=ratio_interval,
        answer=_answer(difference, interval, min(len(benign), len(bad))),
    )


def _of(values: Values, models: Sequence[str]) -> list[float]:
    return [values[model] for model in models]


def _power(side: Side, benign: Sequence[str], infected: Sequence[str]) -> Power:
    return Power(
        title=side.title,
        auroc=stats.auroc(_of(side.values, benign), _of(side.values, infected)),
        found=Rate(count=len(_found(side.values, benign, infected)), n=len(infected)),
    )


def _difference(
    a: Values, b: Values, benign: Sequence[str], infected: Sequence[str], rng: np.random.Generator
) -> tuple[float, Interval]:
    """Of the AUROCs; both sides are drawn alike."""
    first, second = (wins(_of(values, benign), _of(values, infected)) for values in (a, b))
    drawn = draws(len(benign), len(infected), rounds=_ROUNDS, rng=rng)
    return float(second.mean() - first.mean()), middle(drawn.aurocs(second) - drawn.aurocs(first))


def _found(values: Values, benign: Sequence[str], infected: Sequence[str]) -> set[str]:
    limit = level(_of(values, benign))
    return {model for model in infected if values[model] > limit}


def _ratio(
    a: Values, b: Values, models: Sequence[str], rng: np.random.Generator
) -> tuple[float | None, Interval | None]:
    ratios = np.array([b[model] / a[model] for model in models if a.get(model, 0) > 0 and model in b])
    if not len(ratios):
        return None, None
    drawn = rng.choice(ratios, (_ROUNDS, len(ratios)))
    return statistics.median(ratios.tolist()), middle(np.median(drawn, axis=1))


def _answer(difference: float, interval: Interval, fewest: int) -> str:
    low, high = interval
    told = f"its AUROC less that of A is {difference:+.3f} ({low:+.3f} to {high:+.3f})"
    if fewest < FEWEST:
        return f"B and A cannot be told apart by fewer than {FEWEST} benign and {FEWEST} infected models: {told}."
    if low <= 0 <= high:
        return f"B and A cannot be told apart: {told}."
    return f"B is {'better' if difference > 0 else 'worse'}: {told}."
