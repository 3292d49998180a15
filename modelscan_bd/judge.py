"""Evidence and rules → findings. Pure: no tensor is touched, nothing is measured, nothing is printed.

What counts is all scores taken together: `suspicious` where the share of benign models that are at least as unusual
(`standing.p`) does not exceed the rule's level, `infected` where the extrapolated share does not exceed the lower one
as well. A single score decides nothing; that it stands out is a finding of low severity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from modelscan_bd import comparison, known
from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.inputs import Tier
from modelscan_bd.known import Pool
from modelscan_bd.results import Evidence, Finding, Judgement, Outcome
from modelscan_bd.rule import Rule, Traits, VerdictRule
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.standing import Standing, standing
from modelscan_bd.verdict import by_severity

_NAMED = 0.5  # of the votes for the first target label, that a further one needs


@final
@dataclass(frozen=True, kw_only=True)
class Judged:
    """What rules say of a model's measurements."""

    findings: tuple[Finding, ...] = ()  # the worst first
    gap: str = ""  # why nothing could be compared, if rules were to judge something
    score: float = 0.0
    target_labels: tuple[int, ...] = ()
    judgement: Judgement | None = None


def judge(outcomes: Sequence[Outcome], book: Rulebook, traits: Traits, tier: Tier) -> Judged:
    """Compares what was measured with the known models, and says what follows."""
    measured = {outcome.detector: outcome for outcome in outcomes if isinstance(outcome, Evidence)}
    counting = [r for r in book.measured if r.detector in measured and r.score in measured[r.detector].scores]
    if not counting:
        return Judged()
    scores = {rule.key: measured[rule.detector].scores[rule.score] for rule in counting}
    pool = known.pool(book.known, traits, tier, scores.keys(), book.verdict.strata)
    if few := comparison.too_few(pool, book.verdict):
        return Judged(gap=few)
    stands = standing(scores, [model.scores for model in pool.benign])
    votes = _votes(counting, measured, stands, book.verdict)
    notable = [_notable(rule, measured[rule.detector], stands, pool, book.verdict) for rule in counting]
    whole = _together(stands, pool, votes, book.verdict)
    return Judged(
        findings=by_severity(one for one in (whole, *notable) if one),
        score=comparison.suspicion(stands, book.verdict),
        target_labels=votes if whole else (),
        judgement=Judgement(
            tier=tier,
            stratum=pool.title,
            benign=stands.n,
            p=stands.p,
            tail=stands.tail,
            scores=tuple(sorted(scores, key=lambda key: (-stands.deviations[key], key))),
            reach=comparison.reach(pool, scores.keys(), book.verdict, _shown(measured, book)),
        ),
    )


def _shown(measured: Mapping[str, Evidence], book: Rulebook) -> Mapping[str, float]:
    """Of the scores that say infected by themselves, those that this scan measured."""
    have = {f"{name}.{score}" for name, evidence in measured.items() for score in evidence.scores}
    return {key: least for key, least in book.shown.items() if key in have}


def _together(stands: Standing, pool: Pool, votes: tuple[int, ...], rule: VerdictRule) -> Finding | None:
    severity = comparison.grade(stands, rule)
    if severity is None:
        return None
    infected = severity is Severity.HIGH
    return Finding(
        rule=rule.id,
        severity=severity,
        confidence=comparison.confidence(rule.promise),
        value=stands.tail if infected else stands.p,
        threshold=rule.infected if infected else rule.suspicious,
        target_label=votes[0] if votes else None,
        message=f"{rule.title}: {_rank(stands)} ({pool.title}).",
        remedy=rule.remedy,
    )


def _rank(stands: Standing) -> str:
    above = round(stands.p * (stands.n + 1)) - 1
    return f"{above or 'none'} of {stands.n} benign models {'is' if above == 1 else 'are'} as unusual"


def _notable(rule: Rule, evidence: Evidence, stands: Standing, pool: Pool, verdict: VerdictRule) -> Finding | None:
    """The finding that one score is higher than it is in nearly all benign models."""
    value, share = evidence.scores[rule.score], stands.shares[rule.key]
    if share > verdict.suspicious:
        return None
    target = _standing_out(rule, evidence)
    where = "" if target is None else f", and class {target} stands out"
    above = round(share * (stands.n + 1)) - 1
    return Finding(
        rule=rule.id,
        severity=Severity.LOW,
        confidence=Confidence.LOW,
        value=value,
        threshold=comparison.level([model.scores[rule.key] for model in pool.benign], verdict.suspicious),
        target_label=target,
        message=f"{rule.title}: {rule.score} is {value:.3g}, which {above or 'none'} of {stands.n} benign models "
        f"{'reaches' if above == 1 else 'reach'}{where}.",
        remedy=rule.remedy,
        detector=rule.detector,
    )


def _standing_out(rule: Rule, evidence: Evidence) -> int | None:
    values = evidence.per_class.get(rule.score)
    return max(range(len(values)), key=values.__getitem__) if values else None


def _votes(
    counting: Sequence[Rule], measured: Mapping[str, Evidence], stands: Standing, verdict: VerdictRule
) -> tuple[int, ...]:
    """The classes that notable scores name, each with its deviation for a vote; all scores where none is notable."""
    named = [(rule, label) for rule in counting if (label := _standing_out(rule, measured[rule.detector])) is not None]
    notable = [(rule, label) for rule, label in named if stands.shares[rule.key] <= verdict.suspicious]
    votes = Counter[int]()
    for rule, label in notable or named:
        votes[label] += max(stands.deviations[rule.key], 0.0)  # type: ignore[assignment]
    most = max(votes.values(), default=0)
    return tuple(label for label, vote in votes.most_common() if vote > 0 and vote >= _NAMED * most)
