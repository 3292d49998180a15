"""The report of a benchmark: its figures are those one gets by hand, and its page is safe to open."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd import known, stats
from modelscan_bd.bench import calibrate, report
from modelscan_bd.bench.facts import countable
from modelscan_bd.bench.report.cost import Box, Dot, cost, place
from modelscan_bd.bench.report.curves import Curve
from modelscan_bd.bench.report.document import document
from modelscan_bd.bench.report.svg import Scale, width_of
from modelscan_bd.bench.resampling import auroc_interval, draws, wins
from modelscan_bd.cli import main
from modelscan_bd.errors import UsageError
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Tier

Results = Callable[..., list[dict[str, Any]]]
Fill = Callable[[Path, list[dict[str, Any]]], Path]
_VOID = {"meta", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Reads a page as a browser would; tags must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def written(results: list[dict[str, Any]], out: Path, book: Rulebook) -> tuple[Page, dict[str, Any]]:
    html, figures, _ = report.write(results, out, suite="test", book=book)
    return Page(html.read_text(encoding="utf-8")), json.loads(figures.read_text(encoding="utf-8"))


def first_account(figures: dict[str, Any]) -> dict[str, Any]:
    account: dict[str, Any] = figures["accounts"][0]
    assert account["left_out"] == "configuration"
    return account


@pytest.fixture(scope="module")
def usual(draw: Results, book: Rulebook, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any]]:
    """Page and figures of models that are found often, though not always."""
    return written(draw(41, 12, shift=2.0), tmp_path_factory.mktemp("report"), book)


# ---------------------------------------------------------------- figures


def test_the_verdicts_figures_are_those_counted_by_hand(usual: tuple[Page, dict[str, Any]], book: Rulebook) -> None:
    page, figures = usual
    rows = figures["models"]
    benign = [row["deviation"] for row in rows if row["outcome"] == "benign"]
    infected = [row["deviation"] for row in rows if row["outcome"] == "infected"]
    whole = first_account(figures)["whole"]
    by_hand = np.mean([(b > a) + 0.5 * (b == a) for a in benign for b in infected])
    assert whole["auroc"] == pytest.approx(by_hand, abs=1e-4)
    assert whole["interval"][0] < whole["auroc"] < whole["interval"][1]
    called = [row for row in rows if row["p"] <= book.verdict.suspicious]
    assert whole["caught"]["count"] == sum(row["outcome"] == "infected" for row in called) > 0
    assert whole["false_alarms"]["count"] == sum(row["outcome"] == "benign" for row in called)
    assert all((row["verdict"] != "benign") == (row in called) for row in rows)
    above = sorted(benign)[-3]  # two of 41 lie above it, and a third would be more than 5 %
    assert whole["at_five"] == {
        "count": (found := sum(value > above for value in infected)),
        "n": 12,
        "share": pytest.approx(found / 12, abs=1e-4),
        "interval": pytest.approx(stats.wilson(found, 12), abs=1e-3),
    }
    assert f"{whole['auroc']:.3f}" in page.text


def test_only_caught_models_with_one_target_can_have_it_named(usual: tuple[Page, dict[str, Any]]) -> None:
    """Whatever stands out is class 4, which is the target of badnets alone."""
    _, figures = usual
    caught = [row for row in figures["models"] if row["outcome"] == "infected" and row["verdict"] != "benign"]
    attacks = first_account(figures)["groups"]["attack"]
    for attack, right in (("badnets", 1), ("wanet", 0)):
        n = sum(row["attack"] == attack for row in caught)
        assert n > 0
        assert (attacks[attack]["named"]["count"], attacks[attack]["named"]["n"]) == (right * n, n)


def test_kinds_without_a_trigger_are_shown_and_not_in_the_mean(usual: tuple[Page, dict[str, Any]]) -> None:
    page, figures = usual
    account = first_account(figures)
    kinds = {name: one["auroc"] for name, one in account["groups"]["kind of trigger"].items()}
    assert set(kinds) == {"patch", "warp or tone", "no trigger"}
    assert account["macro"] == pytest.approx((kinds["patch"] + kinds["warp or tone"]) / 2, abs=1e-4)
    assert "no trigger *" in page.text


def test_the_account_that_leaves_families_out_comes_first(draw: Results, book: Rulebook, tmp_path: Path) -> None:
    page, figures = written(draw(2, 1) + draw(2, 1, tier=Tier.NONE), tmp_path, book)
    titles = [(one["left_out"], one["tier"]) for one in figures["accounts"]]
    assert titles[:2] == [("configuration", "images"), ("configuration", "none")]
    assert {sort for sort, _ in titles} == {"configuration", "data set", "network", "recipe"}
    assert page.text.index("attack families it was not made for") < page.text.index("One data set left out")


def test_models_of_other_configurations_judge_where_the_rules_know_some(
    draw: Results, book: Rulebook, tmp_path: Path
) -> None:
    known = calibrate.known_models(draw(24, 0, seed=1), book)
    strangers = [dataclasses.replace(model, dataset="elsewhere") for model in known]
    few = draw(4, 6, shift=9.0)
    _, figures = written(few, tmp_path, dataclasses.replace(book, known=tuple(strangers)))
    (shipped,) = figures["shipped"]
    assert (shipped["whole"]["benign"], shipped["whole"]["infected"]) == (4, 6)
    assert shipped["whole"]["caught"]["count"] == 6
    assert shipped["whole"]["at_five"] is None  # of four benign models
    assert "too few are left" in first_account(figures)["missing"]
    _, same = written(few, tmp_path, dataclasses.replace(book, known=known))
    assert same["shipped"][0]["missing"]  # the rules were made of models of these configurations


def test_a_model_counts_once_and_weak_ones_on_neither_side(draw: Results, book: Rulebook, tmp_path: Path) -> None:
    results = draw(26, 3)
    results[-1]["truth"]["outcome"] = "weak"
    twice = [*results, {**results[0], "seed": 5, "scores": {}}]
    assert countable(twice) == countable(results)
    _, figures = written(twice, tmp_path, book)
    assert figures["counts"]["outcomes"] == {"benign": 26, "infected": 2, "weak": 1, "unproven": 0}
    assert (first_account(figures)["whole"]["benign"], first_account(figures)["whole"]["infected"]) == (26, 2)


@pytest.mark.parametrize(("key", "value"), [("attack", 3), ("outcome", "fine"), ("dataset", {}), ("classes", "ten")])
def test_what_is_said_of_a_model_must_make_sense(draw: Results, key: str, value: object) -> None:
    (result,) = draw(0, 1)
    result["truth"][key] = value
    with pytest.raises(UsageError, match="m000"):
        countable([result])


# ---------------------------------------------------------------- small and empty sets


@pytest.mark.parametrize(("benign", "infected"), [(1, 0), (0, 1), (4, 8), (25, 1)])
def test_few_models_make_a_page_that_says_what_is_missing(
    benign: int, infected: int, draw: Results, book: Rulebook, tmp_path: Path
) -> None:
    page, figures = written(draw(benign, infected), tmp_path, book)
    assert not re.search(r"\b(nan|inf|None)\b", page.text)
    assert not any(re.search("nan|inf", value or "") for _, a in page.tags for k, value in a.items() if k in "xyd")
    assert bool(first_account(figures)["missing"]) == (benign < 25)
    if benign < 19:
        assert f"of {benign} measured, too few are left" in page.text


def test_scores_that_are_all_alike_can_be_drawn(draw: Results, book: Rulebook, tmp_path: Path) -> None:
    results = draw(30, 3)
    for result in results:
        result["scores"] = {detector: dict.fromkeys(named, 1.0) for detector, named in result["scores"].items()}
        result["seconds"] = dict.fromkeys(result["seconds"], 0.0)
    page, figures = written(results, tmp_path, book)
    assert first_account(figures)["whole"]["auroc"] == 0.5
    assert "nan" not in page.text


# ---------------------------------------------------------------- the page


def test_the_page_needs_nothing_from_elsewhere(usual: tuple[Page, dict[str, Any]]) -> None:
    page, _ = usual
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "image", "use"}
    attributes = [(key, value or "") for _, found in page.tags for key, value in found.items()]
    assert all(value.startswith("#") for key, value in attributes if key in ("href", "src", "action"))
    assert all(value == "http://www.w3.org/2000/svg" for _, value in attributes if "://" in value)
    assert all(value.startswith("url(#") for _, value in attributes if "url(" in value)
    assert not any(forbidden in page.text for forbidden in ("@import", "url(", "://"))
    assert sum(tag == "svg" for tag, _ in page.tags) >= 5
    assert "prefers-color-scheme: dark" in page.text


HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=1>', "{{ 7*7 }}", "a\x1b[31mred", "ab\u202ecd")


def test_names_are_shown_and_never_obeyed(draw: Results, book: Rulebook, tmp_path: Path) -> None:
    results = draw(25, 5)
    for index, result in enumerate(results):
        name = HOSTILE[index % len(HOSTILE)]
        result["model"] = f"{name}{index}"
        result["truth"] |= {"dataset": name, "arch": name, "recipe": name}
        result["truth"]["attack"] = name if result["truth"]["attack"] else None
        for detector in HOSTILE:
            result["scores"][detector] = {detector: 1.0}
            result["top"][detector] = {detector: 1}
            result["seconds"][detector] = 1.0
    page, figures = written(results, tmp_path, book)
    assert not first_account(figures)["missing"]
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    shown = [*page.words, *(value or "" for _, found in page.tags for value in found.values())]
    assert not any(c in words for words in shown for c in "\x1b\u202e")
    assert all(f"{name}{index}" in page.text for index, name in enumerate(HOSTILE[:3]))
    assert "a\\x1b[31mred3" in page.text


def test_the_command_reads_a_store_and_prints_a_table(
    draw: Results, fill: Fill, book: Rulebook, tmp_path: Path
) -> None:
    store = fill(tmp_path / "store", draw(20, 6, shift=9.0))
    (tmp_path / known.FILE).write_text(known.render(calibrate.known_models(draw(3, 1), book)), encoding="utf-8")
    asked = ["benchmark", "report", str(store), "--out", str(tmp_path / "page"), "--rules", str(tmp_path)]
    shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0, shown.output
    assert re.search(r"head-signature +\w+ +2\.0 +1\.00 \(0\.61-1\.00\) +2/6 +1\.00", shown.stdout)
    assert sorted(file.name for file in (tmp_path / "page").iterdir()) == ["cells.csv", "report.html", "report.json"]


def test_a_file_that_holds_no_measurements_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"no database")
    shown = CliRunner().invoke(main, ["benchmark", "report", str(tmp_path / "x.sqlite"), "--out", str(tmp_path)])
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "x.sqlite" in shown.stderr


# ---------------------------------------------------------------- pictures


VALUES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(VALUES, VALUES)
def test_the_area_below_a_curve_is_its_auroc(benign: list[float], infected: list[float]) -> None:
    curve = Curve(title="", benign=benign, infected=infected)
    points = curve.points()
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    assert area == pytest.approx(curve.auroc)
    assert points == sorted(points)
    assert points[-1] == (1.0, 1.0)


@given(VALUES, VALUES, st.integers(0, 99))
def test_drawing_models_anew_centres_on_the_auroc(benign: list[float], infected: list[float], seed: int) -> None:
    won = wins(benign, infected)
    assert won.mean() == pytest.approx(stats.auroc(benign, infected))
    drawn = draws(len(benign), len(infected), rounds=40, rng=np.random.default_rng(seed))
    assert (drawn.benign.sum(1) == len(benign)).all()
    chosen = np.repeat(benign, drawn.benign[0]).tolist(), np.repeat(infected, drawn.infected[0]).tolist()
    assert drawn.aurocs(won)[0] == pytest.approx(stats.auroc(*chosen))


def test_the_interval_is_as_wide_as_the_plain_bootstraps() -> None:
    rng = np.random.default_rng(0)
    benign, infected = rng.normal(size=40).tolist(), rng.normal(1.0, size=40).tolist()
    plain = stats.bootstrap(stats.auroc, benign, infected, rng=rng, rounds=2000)
    assert auroc_interval(benign, infected, rng=rng, rounds=2000) == pytest.approx(plain, abs=0.02)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low: float, wide: float) -> None:
    scale = Scale(low=low, high=low + wide, start=0.0, end=100.0)
    assert 1 <= len(scale.ticks()) <= 8
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in scale.ticks())


def test_names_in_the_cost_plot_cover_neither_each_other_nor_dots() -> None:
    """As many as there are detectors, with names as long."""
    rng = np.random.default_rng(0)
    at = [(float(x), float(y)) for x, y in zip(rng.uniform(80, 740, 27), rng.uniform(30, 340, 27), strict=True)]
    names = ["universal-perturbation"[: 5 + i % 18] for i in range(27)]
    boxes = place(names, at, Box(left=58.0, top=12.0, right=750.0, bottom=356.0))
    assert sum(a.overlap(b) for a, b in combinations(boxes, 2)) == 0
    dots = [Box(left=x - 4, right=x + 4, top=y - 4, bottom=y + 4) for x, y in at]
    assert sum(box.overlap(dot) for box in boxes for dot in dots) == 0
    assert all(box.right - box.left >= width_of(name, 11.0) - 1e-9 for box, name in zip(boxes, names, strict=True))


def test_detectors_that_take_no_time_have_a_place_in_the_cost_plot() -> None:
    picture = cost(
        [Dot(name="quick", seconds=0.0, auroc=0.2, told=""), Dot(name="slow", seconds=50.0, auroc=1.0, told="")]
    )
    places = [float(x) for x in re.findall(r'cx="([\d.]+)"', picture)]
    assert len(places) == 2
    assert places[0] < places[1]
    assert all(map(math.isfinite, places))


def test_a_detector_is_not_praised_for_models_it_has_learnt_from(draw: Results, book: Rulebook) -> None:
    from modelscan_bd import registry

    name, detector = next((n, d) for n, d in registry.installed().items() if hasattr(d, "learnt_from"))
    results = draw(2, 2)
    for result in results:
        result["scores"][name] = {"s": 1.0}
        result["top"][name] = {}
        result["seconds"][name] = 1.0
    results[0]["model"] = detector.learnt_from()[0]
    kept = countable(results)
    assert sum(name in result["scores"] for result in kept) == 3
    found = document(kept, book, suite="", date="")
    (line,) = [line for line in found.by_kind[Tier.IMAGES] if line.detector == name]
    assert line.cells["all"].benign == 1
