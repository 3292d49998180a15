"""Where a model stands: what the p-value promises, checked on scores of a known law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd.standing import LEAST, MOST, deviations, standing

numbers = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
rows = st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=30)


def models(rows: np.ndarray | list[tuple[float, ...]]) -> list[dict[str, float]]:
    return [dict(zip("abc", map(float, row), strict=False)) for row in rows]


@pytest.mark.parametrize("shared", [0.0, 0.95], ids=["independent", "dependent"])
def test_a_benign_model_is_called_suspicious_no_more_often_than_promised(shared: float) -> None:
    """However the scores depend on one another: a fusion that assumed independence would fail the second case."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(1500):
        common = rng.gumbel(size=(40, 1))
        drawn = shared * common + (1 - shared) * rng.gumbel(size=(40, 8))
        *benign, new = [dict(enumerate(map(float, row))) for row in drawn]
        hits.append(standing({str(k): v for k, v in new.items()}, [_named(b) for b in benign]).p <= 0.05)
    assert 0.01 < np.mean(hits) < 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5


def _named(scores: dict[int, float]) -> dict[str, float]:
    return {str(key): value for key, value in scores.items()}


@given(rows)
def test_every_p_value_is_a_share_of_all_models(drawn: list[tuple[float, ...]]) -> None:
    *benign, new = models(drawn)
    found = standing(new, benign)
    ranks = [found.p, *found.shares.values()]
    assert all(0 < p <= 1 for p in ranks)
    assert all(p * len(drawn) == pytest.approx(round(p * len(drawn))) for p in ranks)
    assert all(LEAST <= value <= MOST for value in found.deviations.values())
    assert found.together == pytest.approx(np.mean(list(found.deviations.values())))
    assert 0 <= found.tail <= 1


@given(rows, st.floats(0, 100))
def test_a_higher_score_never_looks_more_benign(drawn: list[tuple[float, ...]], more: float) -> None:
    *benign, new = models(drawn)
    low, high = standing(new, benign), standing(new | {"a": new["a"] + more}, benign)
    assert high.shares["a"] <= low.shares["a"]


@given(rows)
def test_the_order_of_the_benign_models_does_not_matter(drawn: list[tuple[float, ...]]) -> None:
    *benign, new = models(drawn)
    shuffled = sorted(benign, key=lambda model: (model["c"], model["b"], model["a"]))
    assert standing(new, benign).p == standing(new, shuffled).p


@given(rows)
def test_units_do_not_matter(drawn: list[tuple[float, ...]]) -> None:
    """A score in other units (as logits a hundred times as large) says the same."""
    *benign, new = models(drawn)
    scaled = [{key: 4.0 * value for key, value in model.items()} for model in (*benign, new)]
    one, other = standing(new, benign), standing(scaled[-1], scaled[:-1])
    assert one.p == other.p
    assert one.deviations == pytest.approx(other.deviations)


def test_deviations_are_robust() -> None:
    column = np.array([[1.0], [2.0], [3.0], [4.0], [1e9]])
    assert deviations(column)[:, 0].tolist() == pytest.approx([-2 / 1.4826, -1 / 1.4826, 0, 1 / 1.4826, MOST])


def test_a_score_that_is_the_same_for_all_tells_nothing() -> None:
    assert deviations(np.full((5, 2), 7.0)).tolist() == [[0.0, 0.0]] * 5


def test_a_score_that_is_mostly_the_same_still_tells_who_differs() -> None:
    column = np.array([[0.0]] * 9 + [[1.0]])
    assert deviations(column)[-1, 0] > 1


def test_the_tail_goes_below_what_ranks_can_say() -> None:
    rng = np.random.default_rng(0)
    benign = models(rng.normal(size=(40, 3)))
    found = standing({"a": 9.0, "b": 9.0, "c": 9.0}, benign)
    assert found.p == pytest.approx(1 / 41)
    assert found.tail < 1e-4


def test_without_scores_there_is_no_standing() -> None:
    with pytest.raises(ValueError, match="without scores"):
        standing({}, [{}])


def test_a_benign_model_that_lacks_a_score_is_an_error() -> None:
    with pytest.raises(KeyError):
        standing({"a": 1.0}, [{"b": 1.0}])
