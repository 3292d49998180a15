"""What the README and the rules claim follows from the scores that are kept beside the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from modelscan_bd import rulebook
from modelscan_bd.bench.calibrate import Sample, calibrate
from modelscan_bd.types import Rule

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("first_zoo", HERE / "first_zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_states_the_error_rates_that_the_scores_give(zoo: ModuleType) -> None:
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    assert [line for line in zoo.readme_lines() if line not in readme] == []


@pytest.mark.parametrize("rule", rulebook.load(None).measured, ids=lambda rule: rule.id)
def test_the_levels_are_those_that_the_calibration_scores_give(zoo: ModuleType, rule: Rule) -> None:
    column = f"{rule.detector.replace('-', '_')}_images"
    samples = [Sample(score=float(row[column]), infected=bool(row["attack"])) for row in zoo.rows("calibration")]
    again = calibrate(rule, samples, rules=3, suite="", date="")
    assert again.suspicious == pytest.approx(rule.suspicious, abs=0.005)
    assert again.infected == pytest.approx(rule.infected, abs=0.005)
    assert again.calibration.benign == rule.calibration.benign


def test_calibration_and_evaluation_share_no_network_data_set_trigger_or_recipe(zoo: ModuleType) -> None:
    one, other = zoo.rows("calibration"), zoo.rows("evaluation")
    for column in ("name", "dataset", "arch", "seed"):
        assert not {row[column] for row in one} & {row[column] for row in other}, column
    assert not {row["attack"] for row in one if row["attack"]} & {row["attack"] for row in other}


def test_every_listed_network_can_be_trained_again(zoo: ModuleType) -> None:
    specs = [zoo.spec(row) for row in zoo.rows("calibration") + zoo.rows("evaluation")]
    assert len(specs) == 50
    assert sum(spec.attack is not None for spec in specs) == 20
