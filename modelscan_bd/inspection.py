"""Subject and detectors → outcomes. Each detector has a generator of its own, so order does not matter."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from modelscan_bd.errors import CannotMeasure
from modelscan_bd.machine import was_lacking
from modelscan_bd.shared import generator
from modelscan_bd.types import (
    Card,
    Check,
    Detector,
    Evidence,
    Failure,
    Need,
    Outcome,
    ProbeSource,
    Skipped,
    Subject,
    Watch,
)
from modelscan_bd.watch import OutOfTime, Part

_LONGEST_REASON = 300  # characters
_NO_MEMORY = "it needs more memory than it may have (see --memory)"
_log = logging.getLogger(__name__)


def inspect_all(
    subject: Subject, detectors: Sequence[Detector], checks: Sequence[Check], *, seed: int, watch: Watch
) -> tuple[Outcome, ...]:
    """One outcome per detector, in their order. A fatal check that failed leaves nothing to measure."""
    return tuple(inspect_each(subject, detectors, checks, seed=seed, watch=watch))


def inspect_each(
    subject: Subject, detectors: Sequence[Detector], checks: Sequence[Check], *, seed: int, watch: Watch
) -> Iterator[Outcome]:
    """The same, each as soon as it is there."""
    fatal = next((check for check in checks if check.fatal and not check.passed), None)
    for i, detector in enumerate(detectors):
        if fatal is not None:
            yield Skipped(detector=detector.card.id, reason=f"preflight: {fatal.message}")
            continue
        part = Part(inner=watch, start=i / len(detectors), width=1 / len(detectors), title=detector.card.title)
        yield inspect_one(subject, detector, seed=seed, watch=part)


def inspect_one(subject: Subject, detector: Detector, *, seed: int, watch: Watch) -> Outcome:
    """What one detector measured, why it could not, or how it broke; it never stops the others."""
    card = detector.card
    missing = _missing(subject, card)
    if missing:
        return Skipped(detector=card.id, reason=missing)
    began = time.monotonic()
    try:
        watch.tick(0.0, "")
        evidence = detector.inspect(subject, rng=generator(seed, card.id), watch=watch)
        _must_be_sound(evidence, card)
    except CannotMeasure as error:
        return Skipped(detector=card.id, reason=str(error))
    except OutOfTime as error:
        return Failure(detector=card.id, reason=str(error))
    except Exception as error:  # noqa: BLE001 - the outermost edge of a plug-in: its fault must not hide the others' work
        _log.debug("detector %s broke", card.id, exc_info=True)
        return Failure(detector=card.id, reason=_NO_MEMORY if was_lacking(error) else _sentence(error))
    shown = {name: picture.detach().float().cpu() for name, picture in evidence.artefacts.items()}
    return replace(evidence, artefacts=shown, seconds=time.monotonic() - began)


def _missing(subject: Subject, card: Card) -> str:
    """Why the detector cannot apply to this model, or nothing."""
    has = {
        Need.GRADIENTS: subject.classifier.differentiable,
        Need.CLEAN_IMAGES: subject.probes.source is ProbeSource.CLEAN,
        Need.FEATURES: subject.classifier.head is not None,
        Need.REFERENCE: subject.reference is not None,
    }
    lacking = [need.value for need in Need if need in card.needs and not has[need]]
    if lacking:
        return f"it needs {' and '.join(lacking)}, which this scan does not have"
    if subject.classes < card.min_classes:
        return f"it needs at least {card.min_classes} classes; this model has {subject.classes}"
    return ""


def _must_be_sound(evidence: Evidence, card: Card) -> None:
    """A score that is no number would otherwise compare as "below every level"."""
    if not evidence.scores:
        raise ValueError("it gave no score")
    for name, value in evidence.scores.items():
        if name not in card.scores:
            raise ValueError(f"it gave a score '{name}' that its card does not list")
        if not math.isfinite(value):
            raise ValueError(f"its score '{name}' is {value}, not a number")


def _sentence(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:_LONGEST_REASON].removesuffix(": ")
