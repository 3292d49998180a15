"""Levels come from benign scores alone, and hold what they promise on scores of a known law."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelscan_bd.rules
from modelscan_bd import rulebook
from modelscan_bd.bench.calibrate import (
    ALPHA,
    FAR,
    Sample,
    calibrate,
    conformal_quantile,
    gumbel_quantile,
    upper_level,
    write_rule,
)
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Rule

BUILT_IN = Path(next(iter(modelscan_bd.rules.__path__)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(BUILT_IN / "neural_cleanse.toml", tmp_path))


def read(file: Path) -> Rule:
    rule = rulebook.parse(file.read_text(encoding="utf-8"), origin=file.name)
    assert isinstance(rule, Rule)
    return rule


def samples(benign: list[float], infected: list[float]) -> list[Sample]:
    return [Sample(score=s, infected=False) for s in benign] + [Sample(score=s, infected=True) for s in infected]


def test_the_conformal_quantile_keeps_its_promise() -> None:
    """Over many draws, a new benign score passes the quantile of n others with probability ALPHA at most."""
    rng = np.random.default_rng(0)
    for n in (19, 40, 99):
        draws = rng.gumbel(size=(4000, n + 1))
        passed = [new > (conformal_quantile(list(old), share=ALPHA) or np.inf) for *old, new in draws]
        assert 0 < np.mean(passed) <= ALPHA + 0.01


def test_with_too_few_models_there_is_no_conformal_quantile() -> None:
    assert conformal_quantile([3.0, 1.0, 2.0], share=ALPHA) is None
    assert conformal_quantile([float(i) for i in range(100)], share=ALPHA) == 95.0


def test_with_too_few_models_the_level_is_the_higher_of_the_largest_score_and_the_tail() -> None:
    close, far = [1.0, 1.1, 1.2, 0.9, 0.8], [0.0, 0.0, 0.0, 0.0, 9.0]
    assert upper_level(close, share=ALPHA) == gumbel_quantile(close, share=ALPHA) > max(close)
    assert upper_level(far, share=0.3) == max(far) > gumbel_quantile(far, share=0.3)


def test_rules_that_judge_together_share_the_false_alarms(file: Path) -> None:
    rng = np.random.default_rng(1)
    scores = samples(rng.gumbel(size=100).tolist(), [])
    alone = calibrate(read(file), scores, rules=1, suite="s", date="d")
    together = calibrate(read(file), scores, rules=3, suite="s", date="d")
    assert alone.suspicious < together.suspicious
    assert alone.infected < together.infected


def test_the_gumbel_quantile_finds_the_tail_of_a_gumbel_law() -> None:
    draws = np.random.default_rng(0).gumbel(loc=1.0, scale=0.5, size=20_000)
    assert np.mean(draws > gumbel_quantile(draws.tolist(), share=FAR)) == pytest.approx(FAR, abs=0.002)


@given(st.lists(st.floats(-100, 100), min_size=5, max_size=30), st.lists(st.floats(-100, 100), max_size=30))
def test_infected_models_set_no_level(benign: list[float], infected: list[float]) -> None:
    rule = read(BUILT_IN / "neural_cleanse.toml")
    one = calibrate(rule, samples(benign, infected), rules=1, suite="s", date="d")
    other = calibrate(rule, samples(benign, []), rules=1, suite="s", date="d")
    assert (one.suspicious, one.infected) == (other.suspicious, other.infected)
    assert one.suspicious <= one.infected
    assert one.calibration.interval[0] <= one.calibration.false_alarms <= one.calibration.interval[1]


def test_a_small_zoo_raises_no_alarm_on_itself_and_says_how_little_that_means(file: Path) -> None:
    rule = calibrate(
        read(file), samples([1.0, 0.5, 1.5, 0.25, 0.75, 1.25, 1.1, 0.9], [5.0, 6.0]), rules=1, suite="s", date="d"
    )
    assert 1.5 < rule.suspicious < rule.infected
    assert rule.calibration.false_alarms == 0.0
    assert rule.calibration.interval[1] > 0.3
    assert rule.calibration.auroc == 1.0


def test_too_few_benign_models_are_an_error(file: Path) -> None:
    with pytest.raises(UsageError, match="BD201: 4 benign models"):
        calibrate(read(file), samples([1.0, 2.0, 3.0, 4.0], [5.0] * 50), rules=1, suite="s", date="d")


def test_a_rule_is_rewritten_and_its_prose_left_alone(file: Path) -> None:
    before = read(file)
    after = calibrate(
        before, samples([1.0, 2.0, 3.0, 2.5, 1.5], [9.0]), rules=1, suite="eight signs", date="2026-01-01"
    )
    write_rule(after, file)
    assert read(file) == after
    levels = {"suspicious": before.suspicious, "infected": before.infected, "calibration": before.calibration}
    assert dataclasses.replace(after, **levels) == before
    once = file.read_text(encoding="utf-8")
    write_rule(after, file)
    assert file.read_text(encoding="utf-8") == once


def test_a_file_that_would_not_read_back_is_left_as_it_was(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="would not read back"):
        write_rule(dataclasses.replace(read(file), title="another"), file)
    assert file.read_text(encoding="utf-8") == text
