"""From measured scores to a rule's levels, with the false-alarm rate that stands behind them.

`suspicious` is the split-conformal upper quantile of the benign models' scores (Vovk et al. 2005, Algorithmic Learning
in a Random World): a new benign model, exchangeable with these, reaches it with probability ALPHA at most. With
fewer than 1 / ALPHA - 1 models no such quantile exists, and the largest benign score stands in for it.

`infected` is an extrapolation and is called one: the score that one benign model in a hundred reaches if benign scores
follow a Gumbel law (each is a maximum over classes), fitted by moments. It never lies below `suspicious`.

Infected models set no level. They only say how well the score tells the two apart.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from scipy.stats import binomtest, mannwhitneyu

from modelscan_bd import rulebook
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Calibration, Rule

ALPHA = 0.05  # share of benign models that may be called suspicious
FAR = 0.01  # share of benign models that may be called infected

_FEWEST = 5  # benign models; below that a calibration is no more than a guess
_EULER = 0.5772156649015329
_TABLES = re.compile(r"^\[(levels|calibration)\]\n(?:(?!\[).*\n?)*", re.MULTILINE)


@final
@dataclass(frozen=True, kw_only=True)
class Sample:
    """One model's score, and what the model is."""

    score: float
    infected: bool


def calibrate(rule: Rule, samples: Sequence[Sample], *, suite: str, date: str) -> Rule:
    """The rule with levels from these samples. Raises UsageError where too few of them are benign."""
    benign = [sample.score for sample in samples if not sample.infected]
    infected = [sample.score for sample in samples if sample.infected]
    if len(benign) < _FEWEST:
        raise UsageError(
            f"{rule.id}: {len(benign)} benign models gave the score '{rule.score}'",
            remedy=f"At least {_FEWEST} are needed.",
        )
    suspicious = _just_above(conformal_quantile(benign, alpha=ALPHA))
    alarms = sum(score >= suspicious for score in benign)
    interval = binomtest(alarms, len(benign)).proportion_ci(confidence_level=0.95, method="wilson")
    return replace(
        rule,
        suspicious=suspicious,
        infected=max(suspicious, _just_above(gumbel_quantile(benign, share=FAR))),
        calibration=Calibration(
            suite=suite,
            benign=len(benign),
            infected=len(infected),
            false_alarms=alarms / len(benign),
            interval=(round(float(interval.low), 4), round(float(interval.high), 4)),
            auroc=auroc(benign, infected),
            date=date,
            method=f"conformal quantile at {ALPHA} of benign scores; infected by a Gumbel tail at {FAR}",
        ),
    )


def conformal_quantile(benign: Sequence[float], *, alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest score, or the largest where n is too small for that.

    >>> conformal_quantile([1.0, 2.0, 3.0], alpha=0.05)
    3.0
    """
    rank = math.ceil((len(benign) + 1) * (1 - alpha))
    return sorted(benign)[min(rank, len(benign)) - 1]


def gumbel_quantile(benign: Sequence[float], *, share: float) -> float:
    """The score that a share of benign models would reach, under a Gumbel law with their mean and deviation."""
    width = statistics.stdev(benign) * math.sqrt(6) / math.pi
    centre = statistics.fmean(benign) - _EULER * width
    return centre - width * math.log(-math.log1p(-share))


def auroc(benign: Sequence[float], infected: Sequence[float]) -> float | None:
    """The share of pairs in which the infected model scores higher, ties by half; None without infected models.

    >>> auroc([1.0, 2.0], [3.0, 2.0])
    0.875
    """
    if not benign or not infected:
        return None
    return float(mannwhitneyu(infected, benign).statistic) / (len(benign) * len(infected))


def write_rule(rule: Rule, file: Path) -> None:
    """Replaces [levels] and [calibration] of a rule file and leaves its prose alone."""
    prose = _TABLES.sub("", file.read_text(encoding="utf-8")).rstrip()
    text = f"{prose}\n\n{_tables(rule)}"
    if rulebook.parse(text, origin=file.name) != rule:
        raise UsageError(f"{file} would not read back as the rule that was written")
    file.write_text(text, encoding="utf-8")


def _tables(rule: Rule) -> str:
    base = rule.calibration
    lines = [
        "[levels]",
        f"suspicious = {rule.suspicious!r}",
        f"infected = {rule.infected!r}",
        "",
        "[calibration]",
        f'suite = "{base.suite}"',
        f"benign = {base.benign}",
        f"infected = {base.infected}",
        f"false_alarms = {base.false_alarms!r}",
        f"interval = [{base.interval[0]!r}, {base.interval[1]!r}]",
        *([] if base.auroc is None else [f"auroc = {base.auroc!r}"]),
        f'date = "{base.date}"',
        f'method = "{base.method}"',
    ]
    return "\n".join(lines) + "\n"


def _just_above(score: float) -> float:
    """The next number of three decimals above a score: a score on the line counts, and this one should not."""
    return (math.floor(score * 1000) + 1) / 1000
