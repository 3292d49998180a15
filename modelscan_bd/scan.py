"""One scan, one straight line: settings → checkpoint → subject → checks → outcomes → findings → report."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from modelscan_bd import __version__, comparison, families, judge, preflight, registry, rulebook, schedule, verdict
from modelscan_bd.errors import BdscanError, CannotMeasure, UnreadableModel, UnsafeModel, UnsupportedModel, UsageError
from modelscan_bd.file_findings import file_findings
from modelscan_bd.inspection import inspect_all
from modelscan_bd.loading import load
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.settings import Settings
from modelscan_bd.shared import generator
from modelscan_bd.subject import build
from modelscan_bd.summary import summary
from modelscan_bd.types import (
    Check,
    Checkpoint,
    Detector,
    Finding,
    Judgement,
    ModelFacts,
    Outcome,
    ProbeSource,
    Report,
    Silent,
    Subject,
    Tier,
    Traits,
    Verdict,
    Watch,
)
from modelscan_bd.watch import Deadline


@final
@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model that can be measured."""

    checkpoint: Checkpoint
    reference: Checkpoint | None
    subject: Subject


@final
@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was seen of one model, before anyone asks how long it took."""

    model: ModelFacts
    checks: tuple[Check, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    incomplete: tuple[str, ...] = ()
    score: float = 0.0
    target_labels: tuple[int, ...] = ()
    judgement: Judgement | None = None


def scan(settings: Settings, *, watch: Watch | None = None) -> Report:
    """Scans one model; the deadline counts from here.

    Raises UsageError for a request that makes no sense and UnreadableModel for a broken file. A file that asks to be
    run, and one that bdscan cannot measure, end in a report.
    """
    began = time.monotonic()
    plugins = registry.installed()
    book = rulebook.load(settings.rules)
    detectors = schedule.plan(
        plugins, book, chosen=settings.detectors, effort=settings.effort, reference=settings.reference is not None
    )
    book.must_fit(plugin.card for plugin in plugins.values())
    ends = None if settings.timeout is None else began + settings.timeout
    started = datetime.now(UTC)
    seen = _read_and_examine(settings, detectors, book, Deadline(inner=watch or Silent(), ends=ends))
    shown = settings.shown() | {
        "detectors": {d.card.id: repr(d) for d in detectors},
        "not_run": list(schedule.left_out(plugins.values(), detectors)),
    }
    return _report(seen, settings.seed, shown, started, seconds=time.monotonic() - began)


def unread(settings: Settings, error: UnreadableModel) -> Report:
    """The report on a file that could not be read, so that no older report is taken for this scan's."""
    seen = Examination(model=_file_facts(settings.model), incomplete=(str(error),))
    return _report(seen, settings.seed, settings.shown() | {"detectors": {}}, datetime.now(UTC), seconds=0.0)


def _report(seen: Examination, seed: int, shown: Mapping[str, object], started: datetime, *, seconds: float) -> Report:
    answer = verdict.verdict(seen.findings, seen.incomplete)
    return Report(
        tool=f"bdscan {__version__}",
        model=seen.model,
        verdict=answer,
        summary=summary(answer, seen.findings, seen.judgement, seen.target_labels, seen.outcomes, seen.incomplete),
        score=seen.score,
        judgement=seen.judgement,
        target_labels=seen.target_labels,
        findings=seen.findings,
        evidence=seen.outcomes,
        preflight=seen.checks,
        incomplete=seen.incomplete,
        settings=shown,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
    )


def examine(
    model: ModelFacts, subject: Subject, detectors: Sequence[Detector], book: Rulebook, *, seed: int, watch: Watch
) -> Examination:
    """Checks the assumptions, measures, judges."""
    checks = preflight.check(subject, rng=generator(seed, "preflight"))
    outcomes = inspect_all(subject, detectors, checks, seed=seed, watch=watch)
    said = judge.judge(outcomes, book, traits(subject), tier(subject))
    return Examination(
        model=model,
        checks=checks,
        outcomes=outcomes,
        findings=said.findings,
        incomplete=(*verdict.gaps(checks, outcomes, book.measured), *filter(None, [said.gap])),
        score=said.score,
        target_labels=said.target_labels,
        judgement=said.judgement,
    )


def traits(subject: Subject) -> Traits:
    """By what a model is compared with its like."""
    return Traits(family=families.family(subject.classifier.net), classes=subject.classes, size=max(subject.shape[1:]))


def tier(subject: Subject) -> Tier:
    return Tier.IMAGES if subject.probes.source is ProbeSource.CLEAN else Tier.NONE


def _read_and_examine(settings: Settings, detectors: Sequence[Detector], book: Rulebook, watch: Watch) -> Examination:
    """The file is audited first. Nothing is loaded from one that would run code."""
    of_file = file_findings(settings, book)
    if verdict.verdict(of_file, ()) is Verdict.MALICIOUS:
        return Examination(model=_file_facts(settings.model), findings=of_file, score=1.0)
    try:
        ready = prepare(settings)
    except UnsafeModel as error:
        found = verdict.by_severity((verdict.unsafe(error, book), *of_file))
        return Examination(model=_file_facts(settings.model), findings=found, score=1.0)
    except (UnsupportedModel, CannotMeasure) as error:
        score = comparison.SUSPICIOUS if verdict.verdict(of_file, ()) is Verdict.SUSPICIOUS else 0.0
        return Examination(model=_file_facts(settings.model), findings=of_file, incomplete=(str(error),), score=score)
    facts = _facts(ready.checkpoint, ready.subject, ready.reference)
    seen = examine(facts, ready.subject, detectors, book, seed=settings.seed, watch=watch)
    if verdict.verdict(of_file, ()) is Verdict.SUSPICIOUS:
        seen = replace(seen, score=max(seen.score, comparison.SUSPICIOUS))
    return replace(seen, findings=verdict.by_severity((*seen.findings, *of_file)))


def prepare(settings: Settings) -> Prepared:
    """Raises BdscanError for what cannot be read, may not be run or makes no sense, and CannotMeasure."""
    checkpoint = load(settings.model, arch=settings.arch, weights=settings.weights)
    reference = _reference(settings)
    rng = generator(settings.seed, "subject")
    subject = build(
        checkpoint, flags=settings.hints, data=settings.data, images=settings.images, rng=rng, reference=reference
    )
    return Prepared(checkpoint=checkpoint, reference=reference, subject=subject)


def _reference(settings: Settings) -> Checkpoint | None:
    """Read as safely as the model itself; whatever is wrong with it is a mistake in the request, not a finding."""
    if settings.reference is None:
        return None
    named = settings.model if settings.weights else None  # timm:NAME and the like say what the parent is as well
    try:
        return load(settings.reference, arch=settings.arch or named)
    except BdscanError as error:
        raise UsageError(f"the reference {settings.reference} cannot be read: {error}") from error


def _facts(checkpoint: Checkpoint, subject: Subject, reference: Checkpoint | None) -> ModelFacts:
    parent = (
        f"Compared with the reference {_printable(reference.path)}, SHA-256 {reference.sha256}." if reference else ""
    )
    return ModelFacts(
        path=_printable(checkpoint.path),
        sha256=checkpoint.sha256,
        format=checkpoint.format.value,
        architecture=checkpoint.architecture,
        num_classes=subject.classes,
        input=subject.shape,
        preprocessing=subject.classifier.preprocessing,
        family=families.family(subject.classifier.net),
        notes=(*checkpoint.notes, *subject.probes.notes, *filter(None, [parent])),
    )


def _file_facts(model: str) -> ModelFacts:
    """All that can be said of a file that was not turned into a network."""
    path = Path(model)
    sha256 = None
    if path.is_file():
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFacts(
        path=_printable(model),
        sha256=sha256,
        format=None,
        architecture=None,
        num_classes=None,
        input=None,
        preprocessing=None,
    )


def _printable(path: str) -> str:
    """A file name need not be Unicode; a report must be."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
