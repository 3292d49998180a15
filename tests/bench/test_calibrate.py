"""From results to rules: who is in the table, what is promised, and that prose is left alone."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelscan_bd.rules
from modelscan_bd import known, litmus, rulebook
from modelscan_bd.bench import calibrate
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Rule, Tier, Traits

BUILT_IN = Path(next(iter(modelscan_bd.rules.__path__)))
BOOK = rulebook.load()


def result(i: int, *, outcome: str = "benign", dataset: str = "signs", raised: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(i)
    scores: dict[str, dict[str, float]] = {}
    for rule in BOOK.measured:
        scores.setdefault(rule.detector, {})[rule.score] = float(rng.gumbel() + raised)
    truth = {
        "attack": None if outcome == "benign" else "badnets", "outcome": outcome, "dataset": dataset, "arch": "cnn-w8",
        "recipe": "r", "classes": 10, "input": [1, 28, 28], "target_label": None,
    }  # fmt: skip
    return {
        "model": f"m{i}", "tier": Tier.IMAGES, "seed": 0, "scores": scores, "top": {}, "truth": truth,
        "traits": Traits(family="convolutional", classes=10, size=28),
    }  # fmt: skip


RESULTS = [
    *[result(i) for i in range(25)],
    *[result(100 + i, dataset="digits") for i in range(25)],
    *[result(200 + i, outcome="infected", raised=5.0) for i in range(5)],
    result(300, outcome="weak"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "rules"
    shutil.copytree(BUILT_IN, out, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return out


def written(folder: Path) -> list[str]:
    models = calibrate.known_models(RESULTS, BOOK)
    return list(calibrate.write(BOOK, models, folder, suite="mine", date="2026-01-01"))


def test_weak_models_are_neither_benign_nor_infected() -> None:
    models = calibrate.known_models(RESULTS, BOOK)
    assert (sum(not m.infected for m in models), sum(m.infected for m in models)) == (50, 5)
    assert {m.kind for m in models if m.infected} == {"patch"}
    assert {m.traits.family for m in models} == {"convolutional"}


def test_what_a_detector_has_learnt_from_does_not_speak_for_it() -> None:
    """A meta-classifier's own training models would make it look better than it is, in both columns."""
    rule = dataclasses.replace(BOOK.measured[0], detector="mntd", score="jumbo")
    book = dataclasses.replace(BOOK, measured=(*BOOK.measured, rule))
    learnt, found = litmus.learnt_from("mntd")[0], result(0)
    scores = {**found["scores"], "mntd": {"jumbo": 1.0}}
    (taught,) = calibrate.known_models([found | {"model": learnt, "scores": scores}], book)
    (other,) = calibrate.known_models([found | {"scores": scores}], book)
    assert set(other.scores) - set(taught.scores) == {"mntd.jumbo"}


def test_own_rules_are_read_back_and_carry_their_figures(folder: Path) -> None:
    lines = written(folder)
    book = rulebook.load(folder)
    assert len(book.known) == 55
    assert book.verdict.promise.benign == 50
    assert book.verdict.promise.auroc is not None
    assert book.verdict.promise.auroc > 0.95
    assert "each data set judged by the benign models of the others" in book.verdict.promise.method
    assert all(rule.calibration.suite == "mine" for rule in book.measured)
    assert lines[-1].startswith("BD100: false alarms")


def test_prose_is_left_alone_and_a_second_time_changes_nothing(folder: Path) -> None:
    written(folder)
    once = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    written(folder)
    assert once == {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    for before in BOOK.measured:
        after = rulebook.load(folder).find(before.id)
        assert isinstance(after, Rule)
        assert (after.title, after.why, after.key) == (before.title, before.why, before.key)


def test_an_empty_folder_gets_whole_rules(tmp_path: Path) -> None:
    written(tmp_path / "mine")
    assert {rule.id for rule in rulebook.read(tmp_path / "mine").values()} == {
        BOOK.verdict.id, *(rule.id for rule in BOOK.measured),
    }  # fmt: skip
    assert (tmp_path / "mine" / known.FILE).is_file()


def test_benign_models_alone_set_the_false_alarm_rate(tmp_path: Path) -> None:
    models = calibrate.known_models(RESULTS[:50], BOOK)
    list(calibrate.write(BOOK, models, tmp_path, suite="mine", date="2026-01-01"))
    promise = rulebook.load(tmp_path).verdict.promise
    assert (promise.benign, promise.infected, promise.auroc) == (50, 0, None)


def test_too_few_benign_models_are_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    models = calibrate.known_models(RESULTS[:12], BOOK)
    with pytest.raises(UsageError, match="At least 19"):
        list(calibrate.write(BOOK, models, tmp_path / "mine", suite="mine", date="2026-01-01"))
    assert not (tmp_path / "mine").exists()
