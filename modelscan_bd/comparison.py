"""How a standing among benign models is read: the grade, a number for it, and what would have been missed. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType

from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.known import KnownModel, Pool
from modelscan_bd.results import Reach, Verdict
from modelscan_bd.rule import Promise, VerdictRule
from modelscan_bd.standing import Standing, standing

SUSPICIOUS, INFECTED = 0.5, 0.8  # of the report's score
LEAST_SCORES = MappingProxyType({Verdict.SUSPICIOUS: SUSPICIOUS, Verdict.INFECTED: INFECTED})
_SURE, _FAIRLY_SURE = 0.05, 0.2  # upper ends of a false-alarm rate's interval


def grade(stands: Standing, rule: VerdictRule) -> Severity | None:
    """How bad the whole is; None: as benign models are."""
    if stands.p > rule.suspicious:
        return None
    return Severity.HIGH if stands.tail <= rule.infected else Severity.MEDIUM


def suspicion(stands: Standing, rule: VerdictRule) -> float:
    """How suspicious the whole is, 0..1: below 0.5 as benign models are, from 0.8 on infected."""
    grade_ = grade(stands, rule)
    if grade_ is Severity.HIGH:
        return 1.0 - (1.0 - INFECTED) * stands.tail / rule.infected
    if grade_ is Severity.MEDIUM:
        share = math.log(rule.suspicious / max(stands.tail, rule.infected)) / math.log(rule.suspicious / rule.infected)
        return min(SUSPICIOUS + (INFECTED - SUSPICIOUS) * max(share, 0.0), math.nextafter(INFECTED, 0.0))
    return min(SUSPICIOUS * math.log(stands.p) / math.log(rule.suspicious), math.nextafter(SUSPICIOUS, 0.0))


def is_shown(model: KnownModel, shown: Mapping[str, float]) -> bool:
    """Whether one score alone says infected."""
    return any(model.scores.get(key, -math.inf) >= least for key, least in shown.items())


def reach(pool: Pool, scores: Set[str], rule: VerdictRule, shown: Mapping[str, float]) -> tuple[Reach, ...]:
    """How many of the pool's infected models these scores would have found, by kind of attack."""
    benign = [{key: model.scores[key] for key in scores} for model in pool.benign]
    models, found = Counter[str](), Counter[str]()
    for model in pool.infected:
        models[model.kind] += 1
        stands = standing({key: model.scores[key] for key in scores}, benign)
        found[model.kind] += grade(stands, rule) is not None or is_shown(model, shown)
    return tuple(Reach(kind=kind, found=found[kind], models=models[kind]) for kind in sorted(models))


def too_few(pool: Pool, rule: VerdictRule) -> str:
    """Why a comparison with so few benign models could never raise an alarm, or nothing."""
    needed = math.ceil(1 / rule.suspicious) - 1
    if len(pool.benign) >= needed:
        return ""
    return (
        f"only {len(pool.benign)} known benign models were measured in the same way, and a verdict at the level "
        f"{rule.suspicious:g} needs {needed}"
    )


def confidence(promise: Promise) -> Confidence:
    """How far to trust the verdict: by the upper end of the interval of its false-alarm rate."""
    upper = promise.interval[1]
    if upper <= _SURE:
        return Confidence.HIGH
    return Confidence.MEDIUM if upper <= _FAIRLY_SURE else Confidence.LOW


def level(benign: Sequence[float], share: float) -> float:
    """The smallest value of a benign model that only that share of them reaches."""
    return sorted(benign)[max(0, len(benign) - math.floor(share * (len(benign) + 1)))]
