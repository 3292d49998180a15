"""The statistics of suspicion: which of a few numbers stands out, and how sure a measured rate is. Pure functions.

k is the number of classes, n of observations. Larger values are the more suspicious ones throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from scipy import stats as scipy_stats

Values: TypeAlias = Float[np.ndarray, " k"]
Interval: TypeAlias = tuple[float, float]

NORMAL = 1.4826  # turns a median absolute deviation into a standard deviation, for normal data
_SMALLEST_P = 1e-30
_FEWEST_FOR_GAMMA = 4  # three parameters are fitted


def robust_z(values: Values, *, floor: float) -> Values:
    """How many robust standard deviations each value lies above the median.

    The spread is 1.4826 times the median absolute deviation, but never less than `floor` (> 0, in the values' unit).
    With ten classes the deviation of five of them decides, and by chance these can lie so close together that any
    sixth looks like an outlier: on clean networks Neural Cleanse's index is known to pass 2 for no other reason.
    """
    centre = np.median(values)
    spread = NORMAL * np.median(np.abs(values - centre))
    return np.asarray((values - centre) / max(float(spread), floor))


def lead(values: Values) -> Values:
    """How far each value lies above the largest of the others; negative for all but the largest. Needs k >= 2."""
    *_, second, first = np.sort(values)
    return np.asarray(np.where(values == first, values - second, values - first))


def gamma_tail(values: Values) -> float:
    """-log10 of the chance that the largest value is only the largest of k draws from what the others follow.

    MM-BD (Wang et al., IEEE S&P 2024): a Gamma distribution with free shape, place and scale is fitted to all values
    but the largest, and p = 1 - F(largest) ** k. Between 0 and 30. Raises ValueError below four values.

    No calibrated p-value: the fit has only seen what lies below the largest, so its tail is too thin. Of draws from
    one and the same distribution about a tenth pass 2, not a hundredth. Thresholds must come from clean networks.
    """
    if len(values) < _FEWEST_FOR_GAMMA:
        raise ValueError(f"a Gamma distribution cannot be fitted to {len(values) - 1} values")
    *rest, largest = np.sort(values)
    if np.ptp(rest) == 0:
        return 0.0 if largest == rest[-1] else -float(np.log10(_SMALLEST_P))
    shape, place, scale = scipy_stats.gamma.fit(rest)
    above = scipy_stats.gamma.sf(largest, shape, loc=place, scale=scale)
    p = -np.expm1(len(values) * np.log1p(-min(float(above), 1 - 1e-16)))
    return float(-np.log10(max(p, _SMALLEST_P)))


def gumbel_share(values: Sequence[float], value: float) -> float:
    """The share above a value under a Gumbel law with the mean and deviation of the values; at least two are needed.

    The law of a maximum of many; an extrapolation wherever the value lies beyond all others.
    """
    width = float(np.std(values, ddof=1)) * math.sqrt(6) / math.pi
    if width == 0:
        return 1.0 if value <= values[0] else 0.0
    return -math.expm1(-math.exp(-(value - float(np.mean(values))) / width - np.euler_gamma))


def auroc(negative: Sequence[float], positive: Sequence[float]) -> float:
    """The chance that a positive scores above a negative; ties count half. Raises ValueError where one is empty."""
    if not negative or not positive:
        raise ValueError("an AUROC needs at least one negative and one positive")
    ranked = np.sort(negative)
    wins = np.searchsorted(ranked, positive, "left") + np.searchsorted(ranked, positive, "right")
    return float(wins.sum() / (2 * len(negative) * len(positive)))


def wilson(hits: int, trials: int, *, level: float = 0.95) -> Interval:
    """The Wilson interval of a share: honest for few trials and near 0 and 1, where the usual one is not."""
    interval = scipy_stats.binomtest(hits, trials).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap(
    measure: Callable[[Sequence[float], Sequence[float]], float],
    negative: Sequence[float],
    positive: Sequence[float],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    rounds: int = 2000,
) -> Interval:
    """The percentile interval of a measure of two groups, each drawn anew with replacement `rounds` times."""
    a, b = np.asarray(negative), np.asarray(positive)
    draws = [measure(rng.choice(a, len(a)).tolist(), rng.choice(b, len(b)).tolist()) for _ in range(rounds)]
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
