"""Which of two ways of measuring is better: what is said of it follows from the models that both have measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from modelscan_bd import stats
from modelscan_bd.bench.compare import Side, compare, paired, single, verdict
from modelscan_bd.cli import main
from modelscan_bd.errors import UsageError
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Tier

Results = Callable[..., list[dict[str, Any]]]
Fill = Callable[[Path, list[dict[str, Any]]], Path]
MODELS = {f"b{i}": False for i in range(40)} | {f"i{i}": True for i in range(40)}


def side(shift: float, seed: int, *, noise: float = 1.0, seconds: float = 1.0) -> Side:
    """Infected models lie `shift` above benign ones; half of the noise is the same for every seed."""
    common, own = np.random.default_rng(99).normal(size=80), np.random.default_rng(seed).normal(size=80)
    values = {
        name: float(shift * infected + common[i] + noise * own[i]) for i, (name, infected) in enumerate(MODELS.items())
    }
    return Side(title="", values=values, seconds=dict.fromkeys(MODELS, seconds))


def test_a_better_side_is_called_better_and_the_other_worse() -> None:
    poor, good = side(0.5, 0), side(3.0, 1, seconds=4.0)
    found = compare(poor, good, MODELS, rng=np.random.default_rng(0))
    assert found.answer.startswith("B is better")
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.difference == pytest.approx(found.b.auroc - found.a.auroc)
    assert found.p < 0.01
    assert (found.ratio, found.ratio_interval) == (4.0, (4.0, 4.0))
    back = compare(good, poor, MODELS, rng=np.random.default_rng(0))
    assert back.answer.startswith("B is worse")
    assert (back.only_a, back.only_b) == (found.only_b, found.only_a)
    assert back.p == pytest.approx(found.p)


def test_what_one_side_alone_finds_is_counted_and_weighed_by_hand() -> None:
    """Of ten infected models both find two, A one more and B five more: p = 2 P(X <= 1), X of Binomial(6, 1/2)."""
    benign = {f"b{i}": 0.0 for i in range(12)}
    hits = {"a": {0, 1, 2}, "b": {0, 1, 3, 4, 5, 6, 7}}
    values = {who: benign | {f"i{i}": float(i in found) for i in range(10)} for who, found in hits.items()}
    truth = {name: name.startswith("i") for name in values["a"]}
    a, b = (Side(title=who, values=values[who], seconds={}) for who in ("a", "b"))
    found = compare(a, b, truth, rng=np.random.default_rng(0))
    assert (found.only_a, found.only_b) == (1, 5)
    assert found.p == pytest.approx(2 * (1 + 6) / 64)
    assert (found.a.found.count, found.b.found.count) == (3, 7)
    assert (found.a.auroc, found.b.auroc) == (pytest.approx(0.65), pytest.approx(0.85))
    assert (found.ratio, found.ratio_interval) == (None, None)


def test_equal_sides_are_told_apart_no_more_often_than_promised() -> None:
    told = [
        compare(side(1.0, 2 * i), side(1.0, 2 * i + 1), MODELS, rng=np.random.default_rng(i)).answer for i in range(40)
    ]
    assert sum("cannot be told apart" not in answer for answer in told) <= 6  # of 40, at 5 %: 0.7 % of the time more


def test_pairing_narrows_the_interval() -> None:
    """What two nearly equal scores share is not counted as doubt."""
    a, b = side(1.0, 0, noise=0.1), side(1.0, 1, noise=0.1)
    found = compare(a, b, MODELS, rng=np.random.default_rng(0))
    values = [[s.values[name] for name in MODELS if MODELS[name] is truth] for s in (a, b) for truth in (False, True)]
    alone = stats.bootstrap(stats.auroc, values[0], values[1], rng=np.random.default_rng(0), rounds=300)
    assert found.interval[1] - found.interval[0] < (alone[1] - alone[0]) / 2


def test_few_models_tell_nothing() -> None:
    few = {name: MODELS[name] for name in ("b0", "b1", "b2", "i0", "i1", "i2")}
    answer = compare(side(0.0, 0), side(50.0, 1), few, rng=np.random.default_rng(0)).answer
    assert answer.startswith("B and A cannot be told apart by fewer than 10")


def test_models_of_one_sort_are_an_error() -> None:
    benign = {name: False for name, infected in MODELS.items() if not infected}
    with pytest.raises(UsageError, match="40 are benign and 0 infected"):
        compare(side(1.0, 0), side(1.0, 1), benign, rng=np.random.default_rng(0))


def test_only_the_same_files_are_paired(draw: Results) -> None:
    a, b = draw(4, 4), draw(4, 6)
    b[0]["sha256"] = "f" * 64
    b[1]["truth"]["outcome"] = "weak"
    first, second = paired(a, b)
    assert [r["model"] for r in first] == [r["model"] for r in second] == [f"m{i:03}" for i in range(2, 8)]
    with pytest.raises(UsageError, match="no model in common"):
        paired(a, [b[0]])
    b[2]["truth"]["outcome"] = "infected"
    with pytest.raises(UsageError, match="whether 'm002' is infected"):
        paired(a, b)


def test_verdicts_and_scores_are_taken_from_the_results(draw: Results, book: Rulebook) -> None:
    results = draw(26, 3, shift=9.0)
    whole = verdict(results, book, "A")
    assert len(whole.values) == 29
    assert min(list(whole.values.values())[26:]) > max(list(whole.values.values())[:26])
    assert set(whole.seconds.values()) == {2.0 * len({rule.detector for rule in book.measured})}
    alone = single(results, book.measured[0].key, "A")
    assert next(iter(alone.values.values())) == results[0]["scores"][book.measured[0].detector][book.measured[0].score]
    with pytest.raises(UsageError, match=r"'x\.y' was not measured in A"):
        single(results, "x.y", "A")


def test_the_command_says_which_is_better(draw: Results, fill: Fill, book: Rulebook, tmp_path: Path) -> None:
    a = fill(tmp_path / "a", draw(12, 12, shift=0.0))
    b = fill(tmp_path / "b", draw(12, 12, shift=9.0, seed=1))
    score = book.measured[0].key
    asked = ["benchmark", "compare", str(a), str(b), "--score", score]
    shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0, shown.output
    assert "12 benign and 12 infected models" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("B is better: its AUROC less that of A is +0.")
    as_json = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert as_json["b"]["auroc"] == 1.0
    assert as_json["b"]["found"] | {"interval": None} == {"count": 12, "n": 12, "share": 1.0, "interval": None}


def test_the_command_wants_one_tier_and_models_in_common(draw: Results, fill: Fill, tmp_path: Path) -> None:
    both = str(fill(tmp_path / "both", draw(2, 2) + draw(2, 2, tier=Tier.NONE)))
    shown = CliRunner().invoke(main, ["benchmark", "compare", both, both])
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "--tier images or --tier none" in shown.stderr
    shown = CliRunner().invoke(main, ["benchmark", "compare", both, both, "--tier", "none"])
    assert shown.exit_code == 2
    assert "0 are benign and 0 infected" in shown.stderr
