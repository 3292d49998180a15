"""The nouns. Every arrow of a scan carries one of these; all are frozen and keyword-only.

The letters of a tensor's shape mean the same in every file:
n images, c channels, h and w pixels, k classes, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from modelscan_bd.cards import Card as Card
from modelscan_bd.cards import Cost as Cost
from modelscan_bd.cards import Effort as Effort
from modelscan_bd.cards import Need as Need
from modelscan_bd.grades import Confidence as Confidence
from modelscan_bd.grades import Severity as Severity
from modelscan_bd.rule import Calibration as Calibration
from modelscan_bd.rule import FileRule as FileRule
from modelscan_bd.rule import Promise as Promise
from modelscan_bd.rule import Rule as Rule
from modelscan_bd.rule import Strata as Strata
from modelscan_bd.rule import Traits as Traits
from modelscan_bd.rule import VerdictRule as VerdictRule
from modelscan_bd.shared import Shared

if TYPE_CHECKING:
    from modelscan_bd.classifier import Classifier

Images: TypeAlias = Float[Tensor, "n c h w"]
Labels: TypeAlias = Int[Tensor, " n"]
Logits: TypeAlias = Float[Tensor, "n k"]
Shape: TypeAlias = tuple[int, int, int]
_T = TypeVar("_T")


# ---------------------------------------------------------------- from file to subject


class FileFormat(StrEnum):
    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    STATE_DICT = "pytorch state dict"
    FULL_MODULE = "pytorch module"
    ARCHITECTURE = "named architecture"


class Layout(StrEnum):
    NCHW = "nchw"
    NHWC = "nhwc"


class Output(StrEnum):
    """What the network's last tensor holds."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What flags or a file say of the expected input; `None` is silence. mean and std are of pixels in [0, 1]."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None  # what a white pixel becomes before mean and std: 1 or 255
    size: tuple[int, int] | None = None  # height, width in pixels
    channels: int | None = None
    layout: Layout | None = None
    bgr: bool | None = None
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file's network, rebuilt without running a byte of the file. Nothing here is known of its input's scaling."""

    path: str
    sha256: str
    format: FileFormat
    architecture: str
    net: nn.Module  # eval mode, float32, on the CPU
    classes: int | None  # None: not known before the network has run
    output: Output = Output.UNKNOWN
    differentiable: bool = True
    hints: Hints = Hints()
    notes: tuple[str, ...] = ()  # sentences for the report: what was rewritten, why gradients are missing


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Pixels in [0, 1] → the network's input: `(pixels * scale - mean * scale) / (std * scale)`, then layout.

    mean and std are of pixels in [0, 1]; `scale` 255 with mean 0 and std 1/255 feeds raw bytes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout = Layout.NCHW
    bgr: bool = False
    source: str  # "flags", "metadata", "inferred", "assumed"
    confidence: float | None = None  # 0..1, only where it was inferred
    detail: str = ""


class ProbeSource(StrEnum):
    CLEAN = "clean"
    PROCEDURAL = "procedural"


class Tier(StrEnum):
    """What a scan is given besides the model."""

    IMAGES = "images"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Probes:
    """The images a scan may look through: the user's clean ones, or procedural stand-ins. Pixels in [0, 1]."""

    images: Images
    labels: Labels | None
    source: ProbeSource
    notes: tuple[str, ...] = ()  # sentences on how they were read: files skipped, labels not trusted


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that a detector may know: a classifier and images. There is no field in which the truth could hide.

    `reference` is the network that the model is said to descend from, if the user has named one. What several
    detectors need is computed by `once`, by whoever asks first.
    """

    classifier: Classifier
    probes: Probes
    reference: Classifier | None = None
    seed: int = 0
    shared: Shared = field(init=False, repr=False, compare=False, default_factory=Shared)

    @property
    def classes(self) -> int:
        return self.classifier.classes

    @property
    def shape(self) -> Shape:
        return self.classifier.shape

    def once(self, name: str, make: Callable[[torch.Generator], _T]) -> _T:
        """What `make` gives, made once for this subject. Its generator depends on the name and the seed alone."""
        return self.shared.once(name, self.seed, make)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One assumption of the detectors, tested on this model. A fatal one that fails leaves nothing to measure."""

    id: str
    passed: bool
    fatal: bool
    message: str
    remedy: str = ""


# ---------------------------------------------------------------- what was measured


@runtime_checkable
class Watch(Protocol):
    """Hears how far a long computation has come. It may raise to stop it (interrupt, time limit)."""

    def tick(self, share: float, note: str) -> None: ...


class Silent:
    """A watch nobody looks at."""

    def tick(self, share: float, note: str) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a detector measured. No severity, no opinion.

    `per_class[name]` holds, for a score that is a maximum over classes, the value of every class.
    `details` are further values of every class, for the reader; no rule judges them.
    `artefacts` are pictures, (c, h, w); signed ones are centred on zero. Names are file-name safe.
    """

    detector: str
    scores: Mapping[str, float]
    per_class: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    details: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    artefacts: Mapping[str, Tensor] = field(default_factory=dict)
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


@runtime_checkable
class Detector(Protocol):
    """Measures a model. Its fields are its settings; it keeps no state and has no opinion.

    `inspect` raises `errors.CannotMeasure` with a sentence where it does not apply; it never invents a score.
    """

    card: ClassVar[Card]

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence: ...


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
