"""The nouns. Every arrow of a scan carries one of these; all are frozen and keyword-only. Those that need no torch are
in modules of their own, for whoever must do without, and are given here once more.

The letters of a tensor's shape mean the same in every file:
n images, c channels, h and w pixels, k classes, d features.
"""

from __future__ import annotations

from collections.abc import Callable
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
from modelscan_bd.graph.sight import Sight as Sight
from modelscan_bd.inputs import Hints as Hints
from modelscan_bd.inputs import Layout as Layout
from modelscan_bd.inputs import Preprocessing as Preprocessing
from modelscan_bd.inputs import Shape as Shape
from modelscan_bd.inputs import Tier as Tier
from modelscan_bd.results import Check as Check
from modelscan_bd.results import Evidence as Evidence
from modelscan_bd.results import Failure as Failure
from modelscan_bd.results import Finding as Finding
from modelscan_bd.results import Judgement as Judgement
from modelscan_bd.results import ModelFacts as ModelFacts
from modelscan_bd.results import Outcome as Outcome
from modelscan_bd.results import Reach as Reach
from modelscan_bd.results import Report as Report
from modelscan_bd.results import Skipped as Skipped
from modelscan_bd.results import Verdict as Verdict
from modelscan_bd.rule import Calibration as Calibration
from modelscan_bd.rule import FileRule as FileRule
from modelscan_bd.rule import Promise as Promise
from modelscan_bd.rule import Rule as Rule
from modelscan_bd.rule import Strata as Strata
from modelscan_bd.rule import Traits as Traits
from modelscan_bd.rule import VerdictRule as VerdictRule
from modelscan_bd.shared import Shared
from modelscan_bd.watch import Silent as Silent
from modelscan_bd.watch import Watch as Watch

if TYPE_CHECKING:
    from modelscan_bd.classifier import Classifier

Images: TypeAlias = Float[Tensor, "n c h w"]
Labels: TypeAlias = Int[Tensor, " n"]
Logits: TypeAlias = Float[Tensor, "n k"]
_T = TypeVar("_T")


class FileFormat(StrEnum):
    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    STATE_DICT = "pytorch state dict"
    FULL_MODULE = "pytorch module"
    ARCHITECTURE = "named architecture"


class Output(StrEnum):
    """What the network's last tensor holds."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    UNKNOWN = "unknown"


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
    hints: Hints = field(default_factory=Hints)
    notes: tuple[str, ...] = ()  # sentences for the report: what was rewritten, why gradients are missing
    sights: tuple[Sight, ...] = ()  # what is odd in what the file claims to be


class ProbeSource(StrEnum):
    CLEAN = "clean"
    PROCEDURAL = "procedural"


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


@runtime_checkable
class Detector(Protocol):
    """Measures a model. Its fields are its settings; it keeps no state and has no opinion.

    `inspect` raises `errors.CannotMeasure` with a sentence where it does not apply; it never invents a score.
    """

    card: ClassVar[Card]

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence: ...
