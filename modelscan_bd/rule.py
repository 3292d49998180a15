"""What a rule says: which score counts, how all are judged together, and on what that stands. Data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.graph.sight import Sight


@dataclass(frozen=True, kw_only=True)
class Traits:
    """By what models are told apart when like is compared with like."""

    family: str  # of the network: see `families`
    classes: int
    size: int  # pixels, of the longer side


@dataclass(frozen=True, kw_only=True)
class Strata:
    """Within what limits models count as alike. Limits are upper ends of bins; the last bin is open."""

    least: int  # benign models that a stratum needs; with fewer, a wider one is taken
    classes: tuple[int, ...]
    size: tuple[int, ...]  # pixels


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """On what the weight of a score stands."""

    suite: str
    benign: int  # models
    infected: int
    auroc: float | None  # None: no infected models
    interval: tuple[float, float] | None  # of the AUROC, 95 %
    date: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A score that counts. Data only: see `rules/*.toml`."""

    id: str
    detector: str
    score: str
    title: str
    why: str
    remedy: str
    paper: str
    calibration: Calibration

    @property
    def key(self) -> str:
        """What the score is called in the table of known models."""
        return f"{self.detector}.{self.score}"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How often the verdict was wrong on models that its comparison had not seen."""

    suite: str
    method: str
    benign: int  # models
    infected: int
    false_alarms: float  # share of benign models called suspicious or worse
    interval: tuple[float, float]  # of that, 95 % Wilson
    false_infected: float  # share of benign models called infected
    infected_interval: tuple[float, float]
    auroc: float | None  # None: no infected models
    date: str


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    """How all scores that count are judged together. Levels are shares of benign models, 0..1."""

    id: str
    title: str
    why: str
    remedy: str
    paper: str
    suspicious: float
    infected: float
    strata: Strata
    promise: Promise


@dataclass(frozen=True, kw_only=True)
class FileRule:
    """A rule about the file itself: a fact, which needs no score and no level."""

    id: str
    title: str
    why: str
    remedy: str
    paper: str


@dataclass(frozen=True, kw_only=True)
class GraphRule:
    """What a sight of a pattern in a graph means. A figure that a sight lacks is never too large, and never enough."""

    id: str
    title: str
    why: str
    remedy: str
    paper: str
    pattern: str
    severity: Severity
    confidence: Confidence
    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    known_by: Mapping[str, float]  # "detector.score" of known models that it would have been told of: from there on

    def fits(self, sight: Sight) -> bool:
        figures = sight.figures
        return (
            sight.pattern == self.pattern
            and all(figures.get(name, -math.inf) >= level for name, level in self.at_least.items())
            and all(figures.get(name, -math.inf) <= level for name, level in self.at_most.items())
        )
