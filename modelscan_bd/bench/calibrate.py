"""From measured scores to a rule's levels, with the false-alarm rate that stands behind them.

A verdict follows the worst of several rules, so each rule gets an equal share of the false alarms that the verdict may
raise (Bonferroni): ALPHA for `suspicious`, FAR for `infected`.

`suspicious` is the split-conformal upper quantile of the benign models' scores (Vovk et al. 2005, Algorithmic Learning
in a Random World): a new benign model, exchangeable with these, passes it with no more than that probability. With
too few models no such quantile exists; then the largest benign score stands in for it, or the extrapolation below
where that is higher.

`infected` is an extrapolation and is called one: the score that so small a share of benign models would reach if
their scores follow a Gumbel law (each is a maximum over classes), fitted by moments. It never lies below `suspicious`.

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

from modelscan_bd import rulebook, stats
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Calibration, Rule

ALPHA = 0.05  # share of benign models that may be called suspicious, by any rule
FAR = 0.01  # share of benign models that may be called infected, by any rule

_FEWEST = 5  # benign models; below that a calibration is no more than a guess
_EULER = 0.5772156649015329
_TABLES = re.compile(r"^\[(levels|calibration)\]\n(?:(?!\[).*\n?)*", re.MULTILINE)


@final
@dataclass(frozen=True, kw_only=True)
class Sample:
    """One model's score, and what the model is."""

    score: float
    infected: bool


def calibrate(rule: Rule, samples: Sequence[Sample], *, rules: int, suite: str, date: str) -> Rule:
    """The rule, one of `rules` that judge together, with levels from these samples.

    Raises UsageError where too few of them are benign.
    """
    benign = [sample.score for sample in samples if not sample.infected]
    infected = [sample.score for sample in samples if sample.infected]
    if len(benign) < _FEWEST:
        raise UsageError(
            f"{rule.id}: {len(benign)} benign models gave the score '{rule.score}'",
            remedy=f"At least {_FEWEST} are needed.",
        )
    suspicious = _just_above(upper_level(benign, share=ALPHA / rules))
    alarms = sum(score >= suspicious for score in benign)
    low, high = stats.wilson(alarms, len(benign))
    return replace(
        rule,
        suspicious=suspicious,
        infected=max(suspicious, _just_above(gumbel_quantile(benign, share=FAR / rules))),
        calibration=Calibration(
            suite=suite,
            benign=len(benign),
            infected=len(infected),
            false_alarms=alarms / len(benign),
            interval=(round(low, 4), round(high, 4)),
            auroc=stats.auroc(benign, infected) if infected else None,
            date=date,
            method=f"benign scores: conformal quantile at {ALPHA}/{rules}, Gumbel tail where n is too small for it; "
            f"infected: Gumbel tail at {FAR}/{rules}",
        ),
    )


def upper_level(benign: Sequence[float], *, share: float) -> float:
    """The score that a share of benign models may pass: conformal where there are models enough, else the larger of
    the largest score and the Gumbel law's.
    """
    quantile = conformal_quantile(benign, share=share)
    return max(max(benign), gumbel_quantile(benign, share=share)) if quantile is None else quantile


def conformal_quantile(benign: Sequence[float], *, share: float) -> float | None:
    """The ceil((n + 1)(1 - share))-th smallest score, or None where n is too small for there to be one.

    >>> conformal_quantile([1.0, 2.0, 3.0], share=0.5)
    2.0
    """
    rank = math.ceil((len(benign) + 1) * (1 - share))
    return sorted(benign)[rank - 1] if rank <= len(benign) else None


def gumbel_quantile(benign: Sequence[float], *, share: float) -> float:
    """The score that a share of benign models would reach, under a Gumbel law with their mean and deviation."""
    width = statistics.stdev(benign) * math.sqrt(6) / math.pi
    centre = statistics.fmean(benign) - _EULER * width
    return centre - width * math.log(-math.log1p(-share))


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
