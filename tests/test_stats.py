"""The statistics hold for any numbers, not for the ones somebody thought of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelscan_bd.stats import auroc, bootstrap, gamma_tail, lead, robust_z, wilson

numbers = st.floats(-1e4, 1e4, allow_subnormal=False)
values = arrays(np.float64, st.integers(2, 30), elements=numbers)
groups = st.lists(st.floats(-100, 100), min_size=1, max_size=20)


@given(values, st.floats(0.1, 10), st.floats(0.1, 10), numbers)
def test_robust_z_knows_no_unit_and_no_zero(x: np.ndarray, floor: float, scale: float, shift: float) -> None:
    np.testing.assert_allclose(
        robust_z(x * scale + shift, floor=floor * scale), robust_z(x, floor=floor), rtol=1e-6, atol=1e-6
    )


@given(values, st.floats(0.1, 10))
def test_robust_z_keeps_the_order_and_centres_on_the_median(x: np.ndarray, floor: float) -> None:
    z = robust_z(x, floor=floor)
    assert abs(np.median(z)) < 1e-9
    assert (np.diff(z[np.argsort(x)]) >= 0).all()


def test_robust_z_does_not_divide_by_a_spread_of_nothing() -> None:
    assert robust_z(np.array([1.0, 1, 1, 1, 2]), floor=0.5).max() == 2


def test_robust_z_measures_in_standard_deviations_of_a_normal_distribution() -> None:
    x = np.random.default_rng(0).normal(3, 2, 20_001)
    assert np.std(robust_z(x, floor=1e-9)) == pytest.approx(1, rel=0.03)


@given(values)
def test_lead_is_positive_for_one_at_most(x: np.ndarray) -> None:
    ahead = lead(x)
    assert (ahead > 0).sum() <= 1
    assert ahead.max() >= 0
    assert ahead[np.argmax(x)] == ahead.max()


def test_lead_is_the_distance_to_the_best_other() -> None:
    assert lead(np.array([1.0, 5, 3])).tolist() == [-4, 2, -2]


def test_gamma_tail_is_small_for_draws_of_one_distribution() -> None:
    """As the docstring says, p comes out too small, yet only by so much."""
    rng = np.random.default_rng(1)
    tails = [gamma_tail(rng.gamma(4, 2, 40)) for _ in range(60)]
    assert 0.01 < np.mean(np.array(tails) > 2) < 0.25
    assert 0.1 < np.median(tails) < 0.9


def test_gamma_tail_grows_with_the_outlier() -> None:
    rest = np.random.default_rng(2).gamma(4, 2, 9)
    tails = [gamma_tail(np.append(rest, rest.max() * factor)) for factor in (1.1, 2, 4, 8)]
    assert tails == sorted(tails)
    assert tails[-1] > 3


@given(arrays(np.float64, st.integers(4, 12), elements=st.floats(0.5, 50)))
def test_gamma_tail_is_always_a_number_from_0_to_30(x: np.ndarray) -> None:
    assert 0 <= gamma_tail(x) <= 30.001


def test_gamma_tail_needs_four_values() -> None:
    with pytest.raises(ValueError, match="cannot be fitted"):
        gamma_tail(np.array([1.0, 2, 3]))


@given(groups, groups)
def test_auroc_of_swapped_groups_is_the_rest_to_one(a: list[float], b: list[float]) -> None:
    assert auroc(a, b) + auroc(b, a) == pytest.approx(1)


@given(groups, groups)
def test_auroc_counts_pairs(a: list[float], b: list[float]) -> None:
    pairs = [(y > x) + (y == x) / 2 for x in a for y in b]
    assert auroc(a, b) == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        auroc([], [1.0])


@given(st.integers(1, 300), st.data())
def test_wilson_holds_the_share_and_stays_within_bounds(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    low, high = wilson(hits, trials)
    assert -1e-9 <= low <= hits / trials + 1e-9
    assert hits / trials - 1e-9 <= high <= 1 + 1e-9


@given(st.integers(1, 100), st.data())
def test_wilson_narrows_with_trials(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    (low, high), (lower, higher) = wilson(10 * hits, 10 * trials), wilson(hits, trials)
    assert high - low < higher - lower


def test_wilson_of_two_in_forty_is_the_textbook_one() -> None:
    assert wilson(2, 40) == pytest.approx((0.0138, 0.1650), abs=5e-4)


def test_bootstrap_brackets_the_measure_and_repeats_with_its_seed() -> None:
    rng = np.random.default_rng(3)
    clean, infected = rng.normal(0, 1, 30).tolist(), rng.normal(1, 1, 30).tolist()
    interval = bootstrap(auroc, clean, infected, rng=np.random.default_rng(4), rounds=300)
    assert interval == bootstrap(auroc, clean, infected, rng=np.random.default_rng(4), rounds=300)
    assert interval[0] < auroc(clean, infected) < interval[1]
    assert interval[1] - interval[0] < 0.4
