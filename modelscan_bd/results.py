"""What a scan has to say: what was measured and what was judged. Without torch, for those who only read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.graph.sight import Sight
from modelscan_bd.inputs import Preprocessing, Shape, Tier

Picture: TypeAlias = Any  # a tensor, or an array where it came from another process; (c, h, w)

# ---------------------------------------------------------------- what was measured


@dataclass(frozen=True, kw_only=True)
class Check:
    """One assumption of the detectors, tested on this model. A fatal one that fails leaves nothing to measure."""

    id: str
    passed: bool
    fatal: bool
    message: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a detector measured. No severity, no opinion.

    `per_class[name]` holds, for a score that is a maximum over classes, the value of every class.
    `details` are further values of every class, for the reader; no rule judges them.
    `artefacts` are pictures; signed ones are centred on zero. Names are file-name safe.
    `sights` are what was seen in the graph, with figures and a place each, for rules about graphs; None: nobody looked.
    """

    detector: str
    scores: Mapping[str, float]
    per_class: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    details: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    artefacts: Mapping[str, Picture] = field(default_factory=dict)
    sights: tuple[Sight, ...] | None = None
    seconds: float = 0.0
    status: ClassVar[str] = "ok"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A detector that could not apply to this model, and why."""

    detector: str
    reason: str
    status: ClassVar[str] = "skipped"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A detector that broke. It makes the scan incomplete, never benign by silence."""

    detector: str
    reason: str
    status: ClassVar[str] = "failed"


Outcome: TypeAlias = Evidence | Skipped | Failure

# ---------------------------------------------------------------- what was judged


class Verdict(StrEnum):
    BENIGN = "benign"
    SUSPICIOUS = "suspicious"
    INFECTED = "infected"
    MALICIOUS = "malicious"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a person acts on."""

    rule: str
    severity: Severity
    confidence: Confidence
    value: float
    threshold: float
    target_label: int | None
    message: str
    remedy: str
    detector: str | None = None  # None: the file itself, or all measurements together
    place: str = ""  # inside the file: a member and a byte, a node; empty: the whole


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    path: str
    sha256: str | None
    format: str | None
    architecture: str | None
    num_classes: int | None
    input: Shape | None
    preprocessing: Preprocessing | None
    family: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How many of the known infected models of a kind a scan that measured the same would have called suspicious."""

    kind: str
    found: int
    models: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """With what a model was compared, and how it stands."""

    tier: Tier
    stratum: str
    benign: int  # models it was compared with
    p: float  # share of benign models that are at least as unusual
    tail: float  # the same, extrapolated beyond the number of models
    scores: tuple[str, ...]  # that counted, those that stand out most first
    reach: tuple[Reach, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The only thing renderers see."""

    tool: str  # name and version
    model: ModelFacts
    verdict: Verdict
    summary: str  # two sentences for a person
    score: float  # 0..1, monotone in suspicion
    judgement: Judgement | None  # None: nothing was measured that could be compared
    target_labels: tuple[int, ...]
    findings: tuple[Finding, ...]
    evidence: tuple[Outcome, ...]
    preflight: tuple[Check, ...]
    incomplete: tuple[str, ...]  # sentences: what was not looked at though it should have been
    settings: Mapping[str, object]
    seed: int
    started: str  # ISO 8601, UTC
    seconds: float
