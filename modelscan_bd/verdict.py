"""From findings and gaps to the verdict, and from the verdict to the exit code. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from modelscan_bd.errors import UnsafeModel
from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.results import Check, Evidence, Failure, Finding, Outcome, Report, Verdict
from modelscan_bd.rule import Rule
from modelscan_bd.rulebook import Rulebook

UNSAFE_FILE = "BD901"
_FILE = "BD9"  # how the ids of rules about the file begin

_SEVERITIES = tuple(Severity)
_VERDICTS = {
    Severity.MEDIUM: Verdict.SUSPICIOUS,
    Severity.HIGH: Verdict.INFECTED,
    Severity.CRITICAL: Verdict.MALICIOUS,
}


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first."""
    return tuple(sorted(findings, key=lambda one: (-_SEVERITIES.index(one.severity), one.rule)))


def verdict(findings: Sequence[Finding], incomplete: Sequence[str]) -> Verdict:
    """The worst finding decides. Without one, a gap in what was examined is inconclusive and never benign."""
    grave = [_weight(one) for one in findings if one.severity in _VERDICTS]
    if grave:
        return _VERDICTS[max(grave, key=_SEVERITIES.index)]
    return Verdict.INCONCLUSIVE if incomplete else Verdict.BENIGN


def _weight(finding: Finding) -> Severity:
    """A file that is not what it should be is suspicious; infected is what measurements of the network say."""
    return Severity.MEDIUM if finding.rule.startswith(_FILE) and finding.severity is Severity.HIGH else finding.severity


def gaps(checks: Iterable[Check], outcomes: Sequence[Outcome], rules: Sequence[Rule]) -> tuple[str, ...]:
    """What should have been examined and was not, as sentences; empty means that silence may be read as benign.

    A measurement that no rule judges is shown and decides nothing.
    """
    fatal = [f"{c.message} {c.remedy}".strip() for c in checks if c.fatal and not c.passed]
    broken = [f"{o.detector} did not finish: {o.reason}" for o in outcomes if isinstance(o, Failure)]
    return tuple(fatal + broken + _silent(outcomes, {rule.detector for rule in rules}))


def _silent(outcomes: Sequence[Outcome], judged: Set[str]) -> list[str]:
    """Why too little was measured for silence to mean anything: less than half of what rules judge."""
    measured = {o.detector for o in outcomes if isinstance(o, Evidence)}
    if not measured:
        return ["no detector could measure this model"]
    asked = {o.detector for o in outcomes} & judged
    if not asked:
        return [f"no rule judges what {', '.join(sorted(measured))} measured"]
    if 2 * len(asked & measured) < len(asked):
        return [f"only {len(asked & measured)} of {len(asked)} detectors that rules judge could measure this model"]
    return []


def unsafe(error: UnsafeModel, book: Rulebook) -> Finding:
    """The finding about a file that asks its loader to run code."""
    rule = book.find(UNSAFE_FILE)
    return Finding(
        rule=rule.id,
        severity=Severity.CRITICAL,
        confidence=Confidence.HIGH,
        value=1.0,
        threshold=1.0,
        target_label=None,
        message=f"{rule.title}: {error.what.rstrip('.')}.",
        remedy=error.remedy or rule.remedy,
    )


def exit_code(report: Report, *, fail_on: Verdict, allow_incomplete: bool) -> int:
    """0 below `fail_on`, 1 at or above it, 3 where not everything could be examined; a finding outranks a gap."""
    grades = tuple(_VERDICTS.values())
    if report.verdict in grades[grades.index(fail_on) :]:
        return 1
    gap = bool(report.incomplete) or report.verdict is Verdict.INCONCLUSIVE
    return 3 if gap and not allow_incomplete else 0
