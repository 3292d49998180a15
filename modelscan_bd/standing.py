"""Where a model stands among benign ones: how unusual its measurements are, each by itself and all together.

n benign models are compared with; s scores count. Larger scores are the more suspicious ones.

The model is laid among the n benign ones, and each score of these n + 1 becomes a deviation: how many robust standard
deviations it lies above their median, cut off at both ends, so that no single measurement outweighs the others. The
mean of a model's deviations says how far out it is. The share of the n + 1 that are at least as far out is p. Since
every step treats the n + 1 alike, p is a conformal p-value (Vovk et al. 2005, Algorithmic Learning in a Random World):
a benign model that is exchangeable with the n falls at or below any level with no more than that probability, however
the measurements depend on one another.

Ranks among n models say nothing of shares below 1 / (n + 1). `tail` does, by extrapolation: the share that would be so
far out if the means of the benign models follow a Gumbel law.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from modelscan_bd import stats

LEAST, MOST = -3.0, 6.0  # robust standard deviations that a single score may count for
_FEWEST_FOR_A_LAW = 3

Scores = Float[np.ndarray, "n s"]


@final
@dataclass(frozen=True, kw_only=True)
class Standing:
    """p-values are shares of benign models: the smaller, the more unusual."""

    n: int  # benign models
    together: float  # mean of the deviations
    p: float
    tail: float
    deviations: Mapping[str, float]
    shares: Mapping[str, float]  # each score's own p


def standing(scores: Mapping[str, float], benign: Sequence[Mapping[str, float]]) -> Standing:
    """Raises KeyError where a benign model lacks one of the scores, and ValueError where there are no scores."""
    if not scores:
        raise ValueError("a model without scores stands nowhere")
    names = tuple(scores)
    pooled = np.array([[model[name] for name in names] for model in (*benign, scores)])
    out = deviations(pooled)
    together = out.mean(1)
    return Standing(
        n=len(benign),
        together=float(together[-1]),
        p=_share(together),
        tail=_tail(together),
        deviations=dict(zip(names, out[-1].tolist(), strict=True)),
        shares={name: _share(column) for name, column in zip(names, pooled.T, strict=True)},
    )


def deviations(pooled: Scores) -> Scores:
    """Robust standard deviations above the median of each column, cut off; zero where all of a column are the same.

    Where more than half are the same, the ordinary standard deviation stands in for the median absolute one.
    """
    above = pooled - np.median(pooled, 0)
    spread = stats.NORMAL * np.median(np.abs(above), 0)
    spread = np.where(spread > 0, spread, pooled.std(0))
    return np.asarray(np.clip(above / np.where(spread > 0, spread, 1.0), LEAST, MOST))


def _share(values: Float[np.ndarray, " n"]) -> float:
    """Of all values, that are at least the last one."""
    return float((values >= values[-1]).mean())


def _tail(values: Float[np.ndarray, " n"]) -> float:
    *benign, own = values.tolist()
    return stats.gumbel_share(benign, own) if len(benign) >= _FEWEST_FOR_A_LAW else 1.0
