"""Nobody is judged by its own kind, and the figures are what they are called."""

from __future__ import annotations

import numpy as np
import pytest
from known_models import RULES, book, drawn

from modelscan_bd.bench import protocol
from modelscan_bd.bench.protocol import SORTS, Rate, judged
from modelscan_bd.known import KnownModel
from modelscan_bd.types import Severity, Tier

BOOK = book([])
KEYS = [rule.key for rule in RULES]
KNOWN = [
    *drawn(40, seed=0, dataset="signs", recipe="a"),
    *drawn(40, seed=1, dataset="digits", recipe="b"),
    *drawn(10, seed=2, dataset="signs", recipe="a", infected=True, raised=8.0, kind="patch", attack="badnets"),
    *drawn(5, seed=3, dataset="digits", recipe="b", infected=True, kind="clean label", attack="sig"),
]


@pytest.mark.parametrize("sort", SORTS)
def test_no_model_is_compared_with_one_that_shares_what_is_left_out(sort: str) -> None:
    """By name: whatever the sort, the number compared with is that of the benign models that differ in it."""
    for one in judged(KNOWN, SORTS[sort], BOOK, KEYS):
        others = [m for m in KNOWN if not m.infected and SORTS[sort](m) != SORTS[sort](one.model)]
        assert one.standing.n == len(others)
        assert one.model not in others


def test_a_model_that_nothing_can_be_compared_with_is_left_out() -> None:
    alone = [model for model in KNOWN if model.dataset == "signs"]
    assert judged(alone, SORTS["data set"], BOOK, KEYS) == []


def test_what_was_raised_is_found_and_the_rest_is_not() -> None:
    seen = judged(KNOWN, SORTS["data set"], BOOK, KEYS)
    assert protocol.alarms([s for s in seen if s.model.kind == "patch"], infected=True) == Rate(count=10, n=10)
    assert protocol.alarms(seen, infected=False).share < 0.15
    assert protocol.auroc(seen, "patch") == 1.0
    assert protocol.auroc(seen, "clean label") == pytest.approx(0.5, abs=0.35)
    assert protocol.kinds(seen) == ("clean label", "patch")


def test_infected_counts_only_the_worst() -> None:
    seen = judged(KNOWN, SORTS["data set"], BOOK, KEYS)
    worst = sum(one.severity is Severity.HIGH for one in seen if one.model.infected)
    assert protocol.alarms(seen, infected=True, only_infected=True).count == worst > 0


def test_scores_that_do_not_count_change_nothing() -> None:
    seen = judged(KNOWN, SORTS["data set"], BOOK, KEYS[:2])
    assert all(set(one.standing.deviations) == set(KEYS[:2]) for one in seen)


def test_an_interval_holds_its_figure() -> None:
    seen = judged(KNOWN, SORTS["data set"], BOOK, KEYS)
    low, high = protocol.auroc_interval(seen, "clean label", np.random.default_rng(0))
    figure = protocol.auroc(seen, "clean label")
    assert figure is not None
    assert low <= figure <= high
    assert Rate(count=1, n=20).interval[0] < 0.05 < Rate(count=1, n=20).interval[1]


def test_tiers_are_kept_apart() -> None:
    without = [KnownModel(**{**vars(model), "tier": Tier.NONE}) for model in KNOWN]
    seen = judged([*KNOWN, *without], SORTS["data set"], BOOK, KEYS)
    assert len(protocol.of_tier(seen, Tier.NONE)) == len(KNOWN)
    assert all(one.standing.n == 40 for one in seen)
