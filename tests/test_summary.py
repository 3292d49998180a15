"""Two sentences that say what was found, on what it rests, and what would have been missed."""

from __future__ import annotations

import pytest

from modelscan_bd.summary import summary
from modelscan_bd.types import (
    Confidence,
    Evidence,
    Finding,
    Judgement,
    Reach,
    Severity,
    Skipped,
    Tier,
    Verdict,
)

SEEN = Judgement(
    tier=Tier.IMAGES, stratum="all networks", benign=99, p=0.02, tail=0.004, scores=("pixel.size", "mesa.breadth"),
    reach=(Reach(kind="clean label", found=1, models=9), Reach(kind="patch", found=20, models=21)),
)  # fmt: skip
DONE = [Evidence(detector="pixel", scores={"size": 1.0}), Skipped(detector="ban", reason="r")]


@pytest.mark.parametrize("answer", [Verdict.BENIGN, Verdict.SUSPICIOUS, Verdict.INFECTED, Verdict.INCONCLUSIVE])
def test_there_are_two_sentences(answer: Verdict) -> None:
    said = summary(answer, (), SEEN, (3,), DONE, ("a gap.",))
    assert said.count(". ") == 1
    assert said.endswith(".")
    assert "1 of 99 known benign models measured with clean images" in said


def test_an_alarm_names_what_carried_it_and_the_class() -> None:
    said = summary(Verdict.INFECTED, (), SEEN, (3,), DONE, ())
    assert said.startswith("Infected: ")
    assert "mostly by pixel, mesa" in said
    assert "class 3" in said


def test_what_would_be_missed_and_what_was_not_measured_is_said() -> None:
    said = summary(Verdict.BENIGN, (), SEEN, (), DONE, ())
    assert "miss clean label (1 of 9)" in said
    assert "patch (" not in said
    assert "21 of 30 known infected models" in said
    assert "1 of 2 detectors could not measure it" in said


def test_nothing_measured_is_nothing_said_for_the_model() -> None:
    said = summary(Verdict.INCONCLUSIVE, (), None, (), (), ("The output is constant.",))
    assert said == "Inconclusive: the output is constant. So this says nothing for or against the model."


def test_a_malicious_file_is_called_by_its_finding() -> None:
    grave = Finding(
        rule="BD901", severity=Severity.CRITICAL, confidence=Confidence.HIGH, value=1.0, threshold=1.0,
        target_label=None, message="The file runs code: it calls os.system.", remedy="",
    )  # fmt: skip
    assert "os.system" in summary(Verdict.MALICIOUS, (grave,), None, (), (), ())
