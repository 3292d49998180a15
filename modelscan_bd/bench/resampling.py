"""How sure an AUROC is, by drawing the models anew with replacement, the benign and the infected ones apart.

A matrix of who outscores whom serves all draws, so that a thousand of them cost little, and two scores can be compared
on the same draws. b benign models, i infected ones, r draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Float, Int

Interval: TypeAlias = tuple[float, float]
Wins: TypeAlias = Float[np.ndarray, "b i"]


@final
@dataclass(frozen=True, kw_only=True)
class Draws:
    """How often each model was drawn."""

    benign: Int[np.ndarray, "r b"]
    infected: Int[np.ndarray, "r i"]

    def aurocs(self, won: Wins) -> Float[np.ndarray, " r"]:
        return np.asarray(((self.benign @ won) * self.infected).sum(1) / won.size)


def draws(benign: int, infected: int, *, rounds: int, rng: np.random.Generator) -> Draws:
    """Of that many models each."""
    return Draws(benign=_counts(benign, rounds, rng), infected=_counts(infected, rounds, rng))


def _counts(n: int, rounds: int, rng: np.random.Generator) -> Int[np.ndarray, "r n"]:
    drawn = rng.integers(n, size=(rounds, n)) + n * np.arange(rounds)[:, None]
    return np.bincount(drawn.ravel(), minlength=rounds * n).reshape(rounds, n)


def wins(benign: Sequence[float], infected: Sequence[float]) -> Wins:
    """1 where the infected model scores above the benign one, 1/2 where they tie; the mean is the AUROC."""
    low, high = np.asarray(benign, float)[:, None], np.asarray(infected, float)[None, :]
    return np.asarray((high > low) + 0.5 * (high == low))


def auroc_interval(
    benign: Sequence[float], infected: Sequence[float], *, rng: np.random.Generator, rounds: int = 1000
) -> Interval:
    """95 %, by percentiles."""
    return middle(draws(len(benign), len(infected), rounds=rounds, rng=rng).aurocs(wins(benign, infected)))


def middle(values: Float[np.ndarray, " r"]) -> Interval:
    """Where the middle 95 % lie."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
