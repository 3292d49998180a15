"""A rule file is read strictly: what is misspelt would otherwise be a rule that never fires."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_models import drawn

from modelscan_bd import known, registry, rulebook, schedule
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Effort, FileRule, Rule, VerdictRule

GOOD = """
id = "BD250"
title = "t"
why = "w"
remedy = "r"
paper = "p"
detector = "d"
score = "x"
[calibration]
suite = "s"
benign = 8
infected = 8
auroc = 0.75
interval = [0.5, 1]
date = "2026-01-01"
"""
WHOLE = """
id = "BD100"
title = "t"
why = "w"
remedy = "r"
paper = "p"
levels = { suspicious = 0.1, infected = 0.02 }
strata = { least = 20, classes = [10, 100], size = [] }
[promise]
suite = "s"
method = "m"
benign = 8
infected = 8
false_alarms = 0
interval = [0, 0.4]
false_infected = 0.0
infected_interval = [0.0, 0.4]
date = "2026-01-01"
"""


def test_a_rule_reads_as_it_is_written() -> None:
    rule = rulebook.parse(GOOD, origin="x.toml")
    assert isinstance(rule, Rule)
    assert (rule.id, rule.key) == ("BD250", "d.x")
    assert (rule.calibration.benign, rule.calibration.interval, rule.calibration.auroc) == (8, (0.5, 1.0), 0.75)


def test_the_rule_of_the_verdict_reads_as_it_is_written() -> None:
    rule = rulebook.parse(WHOLE, origin="x.toml")
    assert isinstance(rule, VerdictRule)
    assert (rule.suspicious, rule.infected) == (0.1, 0.02)
    assert (rule.strata.least, rule.strata.classes, rule.strata.size) == (20, (10, 100), ())
    assert (rule.promise.interval, rule.promise.auroc) == ((0.0, 0.4), None)


@pytest.mark.parametrize(
    ("text", "change", "complaint"),
    [
        (GOOD, ('title = "t"', 'titel = "t"'), "titel"),
        (GOOD, ('score = "x"\n', ""), "'score' is missing"),
        (GOOD, ("auroc = 0.75", "auroc = nan"), "finite"),
        (GOOD, ("benign = 8", "benign = true"), "'benign'"),
        (GOOD, ('id = "BD250"', 'id = "XX1"'), "BD101"),
        (GOOD, ("interval = [0.5, 1]", "interval = [0.0]"), "pair"),
        (GOOD, ('date = "2026-01-01"', 'date = "2026-01-01"\nn = 1'), "'n'"),
        (GOOD, ('title = "t"', 'title = "t'), "x.toml"),
        (WHOLE, ("infected = 0.02", "infected = 0.2"), "infected <= suspicious"),
        (WHOLE, ("suspicious = 0.1", "suspicious = 5"), "infected <= suspicious"),
        (WHOLE, ("infected = 0.02 }", "infected = 0.02, high = 9 }"), "'high'"),
        (WHOLE, ("[10, 100]", "[100, 10]"), "rise"),
        (WHOLE, ("least = 20", 'least = "some"'), "'least'"),
    ],
)
def test_a_wrong_rule_is_one_sentence_naming_the_file(text: str, change: tuple[str, str], complaint: str) -> None:
    assert change[0] in text
    with pytest.raises(UsageError) as caught:
        rulebook.parse(text.replace(*change), origin="x.toml")
    assert str(caught.value).startswith("x.toml: ")
    assert complaint in str(caught.value)


@given(st.text())
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        rulebook.parse(text, origin="x.toml")


def test_own_rules_add_and_replace(tmp_path: Path) -> None:
    built_in = rulebook.load()
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "harder.toml").write_text(GOOD.replace("BD250", "BD201"), encoding="utf-8")
    own = rulebook.load(tmp_path)
    assert {rule.id for rule in own} == {rule.id for rule in built_in} | {"BD250"}
    found = own.find("bd201")
    assert isinstance(found, Rule)
    assert found.key == "d.x"
    assert own.known == built_in.known


def test_an_own_table_of_known_models_takes_the_place_of_the_built_in_one(tmp_path: Path) -> None:
    mine = drawn(3)
    (tmp_path / known.FILE).write_text(known.render(mine), encoding="utf-8")
    assert [model.name for model in rulebook.load(tmp_path).known] == [model.name for model in mine]


def test_a_second_rule_of_the_verdict_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(WHOLE.replace("BD100", "BD150"), encoding="utf-8")
    with pytest.raises(UsageError, match="BD100, BD150"):
        rulebook.load(tmp_path)


def test_two_rules_of_one_id_in_a_folder_are_an_error(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(UsageError, match=r"b\.toml: another rule .* BD250"):
        rulebook.load(tmp_path)


def test_an_unreadable_rule_is_an_error_not_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"a\.toml"):
        rulebook.load(tmp_path)


def test_built_in_rules_and_detectors_fit_each_other() -> None:
    """Every rule judges a score that exists, of a detector that a standard scan runs."""
    book, cards = rulebook.load(), [detector.card for detector in registry.installed().values()]
    book.must_fit(cards)
    standard = {card.id for card in cards if schedule.affordable(card, Effort.STANDARD)}
    assert {rule.detector for rule in book.measured} <= standard
    assert all(isinstance(rule, FileRule) == rule.id.startswith("BD9") for rule in book)
    counting = {rule.key for rule in book.measured}
    assert {key for model in book.known for key in model.scores} == counting | book.shown.keys()


def test_a_rule_about_an_unknown_detector_or_score_is_an_error() -> None:
    cards = [detector.card for detector in registry.installed().values()]
    book = rulebook.load()
    rule = book.measured[0]
    for wrong in (dataclasses.replace(rule, detector="nobody"), dataclasses.replace(rule, score="nothing")):
        with pytest.raises(UsageError, match=r"nobody|nothing"):
            dataclasses.replace(book, measured=(wrong,)).must_fit(cards)


def test_calibrations_are_possible() -> None:
    book = rulebook.load()
    for rule in book.measured:
        assert rule.calibration.auroc is not None
        assert rule.calibration.interval is not None
        low, high = rule.calibration.interval
        assert 0.0 <= low <= rule.calibration.auroc <= high <= 1.0
    low, high = book.verdict.promise.interval
    assert 0.0 <= low <= book.verdict.promise.false_alarms <= high <= 1.0
