"""Judging is pure arithmetic, so its laws are checked on numbers alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_models import RULES, TRAITS, book, drawn

from modelscan_bd.judge import Judged, judge
from modelscan_bd.types import Evidence, Failure, Outcome, Severity, Skipped, Tier

BENIGN = drawn(60)
INFECTED = [
    *drawn(4, seed=1, raised=8.0, infected=True, kind="patch"),
    *drawn(3, seed=2, infected=True, kind="clean label"),
]
BOOK = book([*BENIGN, *INFECTED])


def outcomes(*values: float, label: int = 2) -> list[Outcome]:
    """One detector a value, each naming the class `label` of four."""
    return [
        Evidence(
            detector=rule.detector,
            scores={"x": value},
            per_class={"x": tuple(value if k == label else value - 1 for k in range(4))},
        )
        for rule, value in zip(RULES, values, strict=False)
    ]


def judged(found: list[Outcome]) -> Judged:
    return judge(found, BOOK, TRAITS, Tier.IMAGES)


def test_what_is_usual_is_no_finding_of_weight() -> None:
    said = judged(outcomes(0.5, 0.5, 0.5, 0.5))
    assert said.findings == ()
    assert said.target_labels == ()
    assert said.score < 0.5
    assert said.judgement is not None
    assert said.judgement.p > 0.05


def test_what_is_far_out_is_infected_and_names_the_class() -> None:
    said = judged(outcomes(9.0, 9.0, 9.0, 9.0))
    whole, *single = said.findings
    assert (whole.rule, whole.severity, whole.detector) == ("BD100", Severity.HIGH, None)
    assert (whole.target_label, said.target_labels) == (2, (2,))
    assert "none of 60 benign models" in whole.message
    assert [one.severity for one in single] == [Severity.LOW] * 4
    assert said.score >= 0.8


def test_one_score_alone_decides_nothing() -> None:
    """A single detector that goes wild on a benign model was a false alarm once; a backdoor raises several."""
    said = judged(outcomes(5.0, 0.0, 0.0, 0.0))
    assert [one.severity for one in said.findings] == [Severity.LOW]
    assert said.findings[0].detector == "a"
    assert said.target_labels == ()
    assert said.score < 0.5


@given(st.lists(st.floats(-3, 12), min_size=4, max_size=4), st.floats(0, 10))
def test_raising_all_scores_never_lowers_suspicion(values: list[float], more: float) -> None:
    low, high = judged(outcomes(*values)), judged(outcomes(*(value + more for value in values)))
    assert high.score >= low.score - 1e-9


@given(st.lists(st.floats(-3, 12), min_size=4, max_size=4))
def test_score_and_severity_tell_the_same_story(values: list[float]) -> None:
    said = judged(outcomes(*values))
    worst = said.findings[0].severity if said.findings else Severity.LOW
    assert 0.0 <= said.score <= 1.0
    assert (said.score >= 0.5) == (worst in (Severity.MEDIUM, Severity.HIGH))
    assert (said.score >= 0.8) == (worst is Severity.HIGH)


def test_it_says_what_such_a_scan_would_have_found() -> None:
    reach = judged(outcomes(0.0, 0.0, 0.0, 0.0)).judgement
    assert reach is not None
    by_kind = {one.kind: (one.found, one.models) for one in reach.reach}
    assert by_kind["patch"] == (4, 4)
    assert by_kind["clean label"][1] == 3
    assert by_kind["clean label"][0] < 3


def test_a_scan_that_measured_less_is_compared_by_what_it_measured() -> None:
    said = judged([*outcomes(9.0, 9.0), Skipped(detector="c", reason="r"), Failure(detector="d", reason="r")])
    assert said.judgement is not None
    assert set(said.judgement.scores) == {"a.x", "b.x"}


def test_what_no_rule_judges_decides_nothing() -> None:
    assert judged([Evidence(detector="plugin", scores={"x": 1e9})]) == Judged()


def test_too_few_known_models_are_a_gap_and_no_verdict() -> None:
    said = judge(outcomes(9.0, 9.0, 9.0, 9.0), book(BENIGN[:18]), TRAITS, Tier.IMAGES)
    assert said.findings == ()
    assert "18 known benign models" in said.gap
    assert judge(outcomes(9.0, 9.0, 9.0, 9.0), book(BENIGN[:19]), TRAITS, Tier.IMAGES).findings


def test_measurements_without_images_are_not_compared_with_those_with_images() -> None:
    assert "only 0 known benign models" in judge(outcomes(1.0), BOOK, TRAITS, Tier.NONE).gap


@pytest.mark.parametrize(("labels", "expected"), [((1, 1, 3, 3), {1, 3}), ((1, 1, 1, 3), {1})])
def test_classes_are_named_by_votes(labels: tuple[int, ...], expected: set[int]) -> None:
    found = [outcomes(*[9.0] * 4, label=label)[i] for i, label in enumerate(labels)]
    assert set(judged(found).target_labels) == expected
