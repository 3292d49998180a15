"""The verdict in two sentences: what was found and on what it rests, and what this scan would have missed."""

from __future__ import annotations

from collections.abc import Sequence

from modelscan_bd.grades import Severity
from modelscan_bd.inputs import Tier
from modelscan_bd.results import Evidence, Failure, Finding, Judgement, Outcome, Reach, Skipped, Verdict

_MOST_NAMED = 3  # scores that a sentence names
_SEVERITIES = tuple(Severity)
_MISSED = 0.5  # share of known models below which a kind counts as missed


def summary(
    verdict: Verdict,
    findings: Sequence[Finding],
    judgement: Judgement | None,
    targets: Sequence[int],
    outcomes: Sequence[Outcome],
    incomplete: Sequence[str],
) -> str:
    """Two sentences that a person understands without knowing the detectors."""
    if verdict is Verdict.MALICIOUS:
        grave = next((one.message for one in findings if one.severity is Severity.CRITICAL), "The file runs code.")
        return f"Malicious: {_lower(grave).rstrip('.')}. The network was not measured."
    if judgement is None and verdict is not Verdict.INCONCLUSIVE and findings:
        grave = max(findings, key=lambda one: _SEVERITIES.index(one.severity)).message
        return f"{verdict.value.capitalize()}: {_lower(grave).rstrip('.')}. The network was not compared with others."
    if judgement is None:
        why = incomplete[0].rstrip(".") if incomplete else "nothing was measured that rules judge"
        return f"Inconclusive: {_lower(why)}. So this says nothing for or against the model."
    return f"{_found(verdict, judgement, targets)} {_missed(judgement, outcomes)}"


def _found(verdict: Verdict, judgement: Judgement, targets: Sequence[int]) -> str:
    compared = f"{_count(judgement)} of {judgement.benign} known benign models measured {_with(judgement.tier)}"
    if verdict in (Verdict.SUSPICIOUS, Verdict.INFECTED):
        named = f", and what stands out leads to class {' or '.join(map(str, targets))}" if targets else ""
        most = ", ".join(dict.fromkeys(score.partition(".")[0] for score in judgement.scores[:_MOST_NAMED]))
        return f"{verdict.value.capitalize()}: {compared} are as unusual as this one, mostly by {most}{named}."
    opening = "No sign of a backdoor" if verdict is Verdict.BENIGN else "Inconclusive, without a sign of a backdoor"
    return f"{opening}: {compared} are at least as unusual as this one."


def _count(judgement: Judgement) -> str:
    return str(round(judgement.p * (judgement.benign + 1)) - 1 or "none")


def _with(tier: Tier) -> str:
    return "with clean images" if tier is Tier.IMAGES else "without images"


def _missed(judgement: Judgement, outcomes: Sequence[Outcome]) -> str:
    unmeasured = [one.detector for one in outcomes if isinstance(one, Skipped | Failure)]
    measured = sum(isinstance(one, Evidence) for one in outcomes)
    left = f"; {len(unmeasured)} of {measured + len(unmeasured)} detectors could not measure it" if unmeasured else ""
    if not judgement.reach:
        return f"How many infected models would be found this way is not known{left}."
    poor = [reach for reach in judgement.reach if reach.found < _MISSED * reach.models]
    found, models = (sum(getattr(reach, name) for reach in judgement.reach) for name in ("found", "models"))
    kinds = f", and it would probably miss {', '.join(map(_kind, poor))}" if poor else ""
    return f"Such a scan finds {found} of {models} known infected models{kinds}{left}."


def _kind(reach: Reach) -> str:
    return f"{reach.kind} ({reach.found} of {reach.models})"


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
