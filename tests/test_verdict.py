"""From findings and gaps to verdict and exit code."""

from __future__ import annotations

import dataclasses

import pytest
from known_models import rule

from modelscan_bd.errors import UnsafeModel
from modelscan_bd.rulebook import load
from modelscan_bd.types import (
    Check,
    Confidence,
    Evidence,
    Failure,
    Finding,
    ModelFacts,
    Report,
    Severity,
    Skipped,
    Verdict,
)
from modelscan_bd.verdict import exit_code, gaps, unsafe, verdict

RULE = rule("d")


def finding(severity: Severity) -> Finding:
    return Finding(
        rule="BD100", severity=severity, confidence=Confidence.LOW, value=0.0, threshold=0.0, target_label=None,
        message="", remedy="",
    )  # fmt: skip


def evidence(detector: str = "d") -> Evidence:
    return Evidence(detector=detector, scores={"x": 0.0})


def report(verdict: Verdict, incomplete: tuple[str, ...] = ()) -> Report:
    facts = ModelFacts(
        path="m", sha256=None, format=None, architecture=None, num_classes=None, input=None, preprocessing=None
    )
    return Report(
        tool="t", model=facts, verdict=verdict, summary="", score=0.0, judgement=None, target_labels=(), findings=(),
        evidence=(), preflight=(), incomplete=incomplete, settings={}, seed=0, started="", seconds=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        ([], Verdict.BENIGN),
        ([Severity.LOW, Severity.INFO], Verdict.BENIGN),
        ([Severity.LOW, Severity.MEDIUM], Verdict.SUSPICIOUS),
        ([Severity.HIGH, Severity.MEDIUM], Verdict.INFECTED),
        ([Severity.HIGH, Severity.CRITICAL], Verdict.MALICIOUS),
    ],
)
def test_the_worst_finding_decides(severities: list[Severity], expected: Verdict) -> None:
    assert verdict([finding(one) for one in severities], ()) is expected


def test_a_gap_is_never_benign_and_hides_no_finding() -> None:
    assert verdict((), ("a gap",)) is Verdict.INCONCLUSIVE
    assert verdict([finding(Severity.LOW)], ("a gap",)) is Verdict.INCONCLUSIVE
    assert verdict([finding(Severity.HIGH)], ("a gap",)) is Verdict.INFECTED


@pytest.mark.parametrize(
    ("outcomes", "checks"),
    [
        ([], []),
        ([Skipped(detector="d", reason="r")], []),
        ([evidence(), Failure(detector="e", reason="broke")], []),
        ([evidence("nobody judges me")], []),
        ([evidence()], [Check(id="c", passed=False, fatal=True, message="Constant output.")]),
    ],
    ids=["nothing", "all skipped", "one failed", "unjudged", "fatal check"],
)
def test_silence_is_not_benign(outcomes: list[Evidence | Skipped | Failure], checks: list[Check]) -> None:
    found = gaps(checks, outcomes, [RULE])
    assert found
    assert verdict((), found) is Verdict.INCONCLUSIVE


def test_a_detector_that_does_not_apply_leaves_the_verdict_to_the_others() -> None:
    outcomes = [evidence(), Skipped(detector="e", reason="needs gradients")]
    checks = [Check(id="c", passed=False, fatal=False, message="Accuracy is low.")]
    assert verdict((), gaps(checks, outcomes, [RULE])) is Verdict.BENIGN


def test_few_that_could_measure_are_a_gap() -> None:
    """A model without gradients once counted as benign by the one detector that needs none."""
    rules = [dataclasses.replace(RULE, detector=name) for name in ("d", "e", "f")]
    skipped = [Skipped(detector=name, reason="needs gradients") for name in ("e", "f")]
    assert "only 1 of 3" in gaps((), [evidence(), *skipped], rules)[0]
    assert gaps((), [evidence(), skipped[0]], rules) == ()


def test_a_file_that_asks_to_run_code_is_a_critical_finding() -> None:
    found = unsafe(UnsafeModel("it calls os.system"), load())
    assert (found.rule, found.severity) == ("BD901", Severity.CRITICAL)
    assert "os.system" in found.message
    assert verdict((found,), ()) is Verdict.MALICIOUS


@pytest.mark.parametrize(
    ("verdict", "incomplete", "fail_on", "allow", "expected"),
    [
        (Verdict.BENIGN, (), Verdict.SUSPICIOUS, False, 0),
        (Verdict.SUSPICIOUS, (), Verdict.SUSPICIOUS, False, 1),
        (Verdict.SUSPICIOUS, (), Verdict.INFECTED, False, 0),
        (Verdict.INFECTED, ("gap",), Verdict.SUSPICIOUS, False, 1),
        (Verdict.SUSPICIOUS, ("gap",), Verdict.INFECTED, False, 3),
        (Verdict.INFECTED, (), Verdict.MALICIOUS, False, 0),
        (Verdict.MALICIOUS, (), Verdict.MALICIOUS, True, 1),
        (Verdict.INCONCLUSIVE, ("gap",), Verdict.SUSPICIOUS, False, 3),
        (Verdict.INCONCLUSIVE, ("gap",), Verdict.SUSPICIOUS, True, 0),
    ],
)
def test_the_gate(verdict: Verdict, incomplete: tuple[str, ...], fail_on: Verdict, allow: bool, expected: int) -> None:
    assert exit_code(report(verdict, incomplete), fail_on=fail_on, allow_incomplete=allow) == expected
