"""What the README and the rules claim follows from the scores that are kept beside the tests."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from modelscan_bd import registry, rulebook
from modelscan_bd.bench.calibrate import promised, recalibrated
from modelscan_bd.bench.groups import groups
from modelscan_bd.types import Rule

HERE = Path(__file__).parent
BOOK = rulebook.load()


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("detector_zoo", HERE / "detector_zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_states_the_error_rates_that_the_scores_give(zoo: ModuleType) -> None:
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in zoo.readme_lines() if line not in readme] == []


@pytest.mark.parametrize("rule", BOOK.measured, ids=lambda rule: rule.id)
def test_a_rule_states_the_figures_that_the_known_models_give(rule: Rule) -> None:
    base = rule.calibration
    again = recalibrated(rule, BOOK.known, suite=base.suite, date=base.date).calibration
    assert (again.benign, again.infected) == (base.benign, base.infected)
    assert again.auroc == pytest.approx(base.auroc, abs=2e-3)


def test_the_promise_is_what_the_known_models_give() -> None:
    base = BOOK.verdict.promise
    assert promised(BOOK, BOOK.known, suite=base.suite, date=base.date).promise == base


def test_the_promise_is_kept() -> None:
    """The levels are the false-alarm rates that are promised; they must lie within what was measured."""
    base = BOOK.verdict.promise
    assert base.interval[0] <= BOOK.verdict.suspicious
    assert base.infected_interval[0] <= BOOK.verdict.infected


def test_known_models_have_the_scores_that_were_measured(zoo: ModuleType) -> None:
    """The two tables were made from one store; a hand that touched one of them would show."""
    measured = {
        (row["model"], row["tier"]): row for row in csv.DictReader(zoo.TABLE.open(encoding="utf-8", newline=""))
    }
    for model in BOOK.known:
        row = measured[model.name, model.tier.value]
        for key, value in model.scores.items():
            assert float(row[key].partition("@")[0]) == pytest.approx(value, rel=1e-3, abs=1e-6)


def test_the_zoo_is_as_large_and_varied_as_the_readme_says(zoo: ModuleType) -> None:
    found = [r["truth"] for r in zoo.results("images", zoo.ALL_DATA)]
    benign, infected = ([t for t in found if t["outcome"] == outcome] for outcome in ("benign", "infected"))
    assert min(len(benign), len(infected)) >= 60
    assert len({t["attack"] for t in infected}) >= 15
    assert len({groups()[t["attack"]] for t in infected}) >= 8
    assert len({t["arch"].split("-")[0] for t in found}) >= 3


def test_every_detector_that_needs_no_reference_was_measured(zoo: ModuleType) -> None:
    measured = {name for r in zoo.results("images", zoo.EVALUATION) for name in r["scores"]}
    assert measured == set(registry.installed()) - {"reference-diff"}
