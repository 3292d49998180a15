"""Sights become findings by rules that are data; what a run of the graph shows weighs more than what was read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelscan_bd import rulebook
from modelscan_bd.events import Checked, Loaded, Planned
from modelscan_bd.examination import examined
from modelscan_bd.graph.sight import Sight
from modelscan_bd.graph_findings import graph_findings
from modelscan_bd.hearing import hear
from modelscan_bd.results import Evidence, Finding, Report
from modelscan_bd.settings import Settings
from modelscan_bd.types import ModelFacts, Severity, Tier, Traits

BOOK = rulebook.load()
WAY = {"layers": 0.0, "weights": 0.0, "passed": 1.0, "before": 1.0, "raw": 1.0, "decides": 1.0}
WOKEN = {"stamped": 0.95, "held": 0.05, "change": 0.01}


def sight(pattern: str, figures: dict[str, float], *, place: str = "there", target: int | None = None) -> Sight:
    return Sight(pattern=pattern, figures=figures, message="this was seen", place=place, target=target)


def rules(*sights: Sight) -> list[str]:
    return [finding.rule for finding in graph_findings(sights, BOOK)]


@pytest.mark.parametrize(
    ("pattern", "figures", "expected"),
    [
        ("way-around", WAY, ["BD801"]),
        ("way-around", WAY | {"passed": 0.2}, []),  # a residual connection
        ("way-around", WAY | {"weights": 0.4}, []),  # one of two networks of an ensemble
        ("way-around", WAY | {"awake": 1.0, "asleep": 0.0}, []),
        ("way-around", WAY | {"raw": 0.0}, []),  # nobody knows whether it sleeps
        ("way-around", WAY | {"raw": 0.0, "asleep": 1.0}, ["BD802"]),
        ("choice", {"before": 1.0, "raw": 1.0}, ["BD803"]),
        ("choice", {"before": 1.0, "raw": 0.0}, []),
        ("arithmetic", {"before": 0.0, "raw": 1.0}, ["BD805"]),
        ("arithmetic", {"before": 1.0, "raw": 0.0}, []),
        ("thin-chain", {"length": 1.0, "alone": 1.0, "loud": 1.0, "layers": 6.0}, ["BD807"]),
        ("thin-chain", {"length": 0.3, "alone": 1.0, "loud": 1.0, "layers": 2.0}, []),
        ("woken", WOKEN, ["BD810"]),
        ("woken", WOKEN | {"held": 0.9}, []),  # it is not the branch that does it
        ("woken", WOKEN | {"change": 0.4}, ["BD809"]),
    ],
)
def test_bounds_decide(pattern: str, figures: dict[str, float], expected: list[str]) -> None:
    assert rules(sight(pattern, figures)) == expected


def test_more_of_the_same_says_nothing_new() -> None:
    assert rules(*(sight("way-around", WAY, place=str(n)) for n in range(50))) == ["BD801"] * 3


def report(read: list[Sight], run: list[Sight] | None) -> Report:
    facts = ModelFacts(
        path="m", sha256=None, format="onnx", architecture="g", num_classes=3, input=(3, 8, 8), preprocessing=None
    )
    loaded = Loaded(model=facts, traits=Traits(family="convolutional", classes=3, size=8), tier=Tier.NONE)
    told = [] if run is None else [Evidence(detector="graph-audit", scores={"woken": 0.0}, sights=tuple(run))]
    heard = hear([Planned(detectors={"graph-audit": "GraphAudit()"}, not_run=()), loaded, Checked(checks=()), *told])
    of_file = list(graph_findings(read, BOOK))
    return examined(heard, of_file, BOOK, "m").report(
        Settings(model="m"), datetime(2026, 1, 2, tzinfo=UTC), seconds=1.0
    )


def severities(found: tuple[Finding, ...]) -> dict[str, Severity]:
    return {finding.rule: finding.severity for finding in found}


def test_what_was_read_stands_where_nothing_was_run() -> None:
    found = report([sight("way-around", WAY)], None)
    assert severities(found.findings) == {"BD801": Severity.MEDIUM}
    assert found.verdict.value == "suspicious"


def test_what_takes_part_in_answers_is_still_shown_and_weighs_little() -> None:
    found = report([sight("way-around", WAY)], [sight("way-around", WAY | {"awake": 1.0})])
    assert severities(found.findings) == {"BD801": Severity.LOW}
    assert "did not bear this out" in found.findings[0].message


def test_what_was_read_keeps_the_names_of_the_file() -> None:
    found = report([sight("way-around", WAY, place="node Add_7")], [sight("way-around", WAY, place="add")])
    assert [finding.place for finding in found.findings] == ["node Add_7"]


def test_a_branch_shown_at_work_says_infected_by_itself() -> None:
    found = report([], [sight("woken", WOKEN, target=2)])
    assert found.verdict.value == "infected"
    assert found.target_labels == (2,)
    assert found.score >= 0.8
