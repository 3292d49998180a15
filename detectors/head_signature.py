"""Head signature: does one class's row of the last linear layer stand out? A backdoor's target often does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats as scipy_stats

from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.stats import Values, lead
from modelscan_bd.types import Card, Cost, Effort, Evidence, Need, Subject, Watch

Head: TypeAlias = Float[np.ndarray, "k d"]
Indicator: TypeAlias = Callable[[Head], Values]

_SMALLEST_P = 1e-30
_ALIKE = 1e-5  # spread of the rows, as a share of the largest weight, below which nothing can stand out


@final
@dataclass(frozen=True, kw_only=True)
class HeadSignature:
    """Compares the rows of the last layer with one another, weights only, in about a millisecond.

    Adding one vector to all rows, or one number to all biases, leaves every probability as it is, so both are centred
    first. DFBScanner's indicators and how it combines them were not at hand: `max_anomaly` is the largest of ours,
    each under a test that leaves the class itself out. `long_mean` weighs the mean of a row with its length:
    rows of classes that the network hardly answers are short, and their means stray.
    """

    card: ClassVar[Card] = Card(
        id="head-signature",
        title="One class's row of the last layer stands out",
        paper=(
            "Fields et al., Trojan Signatures in DNN Weights, ICCV workshops 2021, https://arxiv.org/abs/2109.02836; "
            "Yu et al., Lightweight and Fast Backdoor Model Detection, 2026, https://arxiv.org/abs/2605.18907"
        ),
        cost=Cost.INSTANT,
        scores={
            "trojan_signature": "Dixon's Q of the largest row mean: gap to the next as a share of the range, 0 to 1",
            "max_anomaly": "-log10 of the smallest p-value, over indicators, of a class among the others, 0 to 30",
            "long_mean": "gap of the largest mean times length to the next row, in standard deviations of the others",
        },
        sees="one target class that a trigger reaches through many features at once; needs no image and no gradient",
        blind_to=(
            "backdoors with several or all classes as targets; those that leave the last layer alone or use it as a "
            "benign class would, as faint blended patterns often do; among few or very uneven classes a benign row may "
            "stand out as well"
        ),
        needs=frozenset({Need.FEATURES}),
        min_classes=5,
        effort=Effort.QUICK,
        published=(
            "DFBScanner's abstract: 97.17 % of over 5,000 infected models found at 0.95 % false alarms; on 33 "
            "third-party models (an independent run) the best of 16 head statistics had AUROC 0.78."
        ),
    )

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where there is no last linear layer, or where its rows are all the same."""
        head, bias = centred(subject.classifier)
        mean = head.mean(1)
        found = {name: indicator(head) for name, indicator in INDICATORS.items()} | {"bias": bias}
        anomaly = np.stack([surprise(values) for values in found.values()]).max(0)
        per_class = {
            "trojan_signature": lead(mean) / _positive(float(np.ptp(mean))),
            "max_anomaly": anomaly,
            "long_mean": gap(INDICATORS["long_mean"](head)),
        }
        return Evidence(
            detector=self.card.id,
            scores={name: float(values.max()) for name, values in per_class.items()},
            per_class={name: tuple(values.tolist()) for name, values in per_class.items()},
            details={"row_mean": tuple(mean.tolist()), "row_length": tuple(np.linalg.norm(head, axis=1).tolist())},
        )


def centred(classifier: Classifier) -> tuple[Head, Values]:
    """The last layer's rows and biases less what all classes share, in units of the mean weight's size."""
    if classifier.head is None:
        raise CannotMeasure("the network does not end in a linear layer")
    weight = classifier.head.weight.detach().double().numpy(force=True)
    bias = classifier.head.bias
    offsets = np.zeros(len(weight)) if bias is None else bias.detach().double().numpy(force=True)
    if not (np.isfinite(weight).all() and np.isfinite(offsets).all()):
        raise CannotMeasure("the last layer holds weights that are not finite numbers")
    rows = weight - weight.mean(0)
    if np.abs(rows).max() <= _ALIKE * np.abs(weight).max():
        raise CannotMeasure("all rows of the last layer are the same")
    return rows / np.abs(rows).mean(), offsets - offsets.mean()


def gap(values: Values) -> Values:
    """How far each lies above the largest of the others, in standard deviations of all but the largest."""
    return np.asarray(lead(values) / _positive(float(np.sort(values)[:-1].std(ddof=1))))


def surprise(values: Values) -> Values:
    """-log10 of the chance that one of k normal values lies so far above the others, each left out in turn.

    Student's t of a value against the mean and spread of the k - 1 others, times k for the choice of the class.
    """
    k = len(values)
    others = (values.sum() - values) / (k - 1)
    squares = (values**2).sum() - values**2 - (k - 1) * others**2
    spread = np.sqrt(np.maximum(squares, 0) / (k - 2) * (1 + 1 / (k - 1)))
    p = k * scipy_stats.t.sf((values - others) / np.maximum(spread, 1e-9 * np.abs(values).max() + 1e-30), k - 2)
    return np.asarray(-np.log10(np.clip(p, _SMALLEST_P, 1)))


def _rivalry(head: Head) -> Values:
    """How little a row agrees with the others: a target that is pushed up pushes all others down."""
    length = np.linalg.norm(head, axis=1)
    rows = head / np.maximum(length, 1e-12)[:, None]
    return np.asarray(-(rows @ rows.sum(0) - 1) / (len(head) - 1))


def _few_features(head: Head) -> Values:
    """The share of a row's energy in its tenth of features with the largest positive weights."""
    count = max(1, head.shape[1] // 10)
    top = np.sort(np.maximum(head, 0) ** 2, 1)[:, -count:].sum(1)
    return np.asarray(top / np.maximum((head**2).sum(1), 1e-12))


def _positive(number: float) -> float:
    return max(number, 1e-12)


INDICATORS: Final[Mapping[str, Indicator]] = {
    "mean": lambda head: head.mean(1),
    "long_mean": lambda head: head.mean(1) * np.linalg.norm(head, axis=1),
    "positive_mean": lambda head: np.maximum(head, 0).mean(1),
    "negative_mean": lambda head: np.minimum(head, 0).mean(1),
    "length": lambda head: np.linalg.norm(head, axis=1),
    "largest": lambda head: head.max(1),
    "skew": lambda head: scipy_stats.skew(head, axis=1),
    "kurtosis": lambda head: scipy_stats.kurtosis(head, axis=1),
    "rivalry": _rivalry,
    "few_features": _few_features,
}
