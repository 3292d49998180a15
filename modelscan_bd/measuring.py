"""Settings → checkpoint → subject → checks → outcomes, told as events. The part of a scan that needs torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from modelscan_bd import families, preflight, registry, rulebook, schedule
from modelscan_bd.errors import BdscanError, UsageError
from modelscan_bd.events import Checked, Event, Loaded, Planned
from modelscan_bd.facts import printable
from modelscan_bd.inspection import inspect_each
from modelscan_bd.loading import Limits, load
from modelscan_bd.settings import Settings
from modelscan_bd.shared import generator
from modelscan_bd.subject import build
from modelscan_bd.types import Checkpoint, ModelFacts, ProbeSource, Subject, Tier, Traits, Watch
from modelscan_bd.watch import Deadline


@final
@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model that can be measured."""

    checkpoint: Checkpoint
    reference: Checkpoint | None
    subject: Subject


def measure(settings: Settings, watch: Watch, limits: Limits | None = None) -> Iterator[Event]:
    """Loads the model, checks the assumptions, measures; the deadline counts from here.

    Raises BdscanError for what cannot be read, may not be run or makes no sense, and CannotMeasure.
    """
    ends = None if settings.timeout is None else time.monotonic() + settings.timeout
    plugins = registry.installed()
    book = rulebook.load(settings.rules)
    detectors = schedule.plan(
        plugins, book, chosen=settings.detectors, effort=settings.effort, reference=settings.reference is not None
    )
    book.must_fit(plugin.card for plugin in plugins.values())
    yield Planned(
        detectors={detector.card.id: repr(detector) for detector in detectors},
        not_run=schedule.left_out(plugins.values(), detectors),
    )
    ready = prepare(settings, limits)
    yield Loaded(
        model=_facts(ready),
        traits=traits(ready.subject),
        tier=tier(ready.subject),
        sights=ready.checkpoint.sights,
    )
    checks = preflight.check(ready.subject, rng=generator(settings.seed, "preflight"))
    yield Checked(checks=checks)
    until = Deadline(inner=watch, ends=ends)
    yield from inspect_each(ready.subject, detectors, checks, seed=settings.seed, watch=until)


def prepare(settings: Settings, limits: Limits | None = None) -> Prepared:
    """Raises BdscanError for what cannot be read, may not be run or makes no sense, and CannotMeasure."""
    checkpoint = load(settings.model, arch=settings.arch, weights=settings.weights, limits=limits)
    reference = _reference(settings, limits)
    rng = generator(settings.seed, "subject")
    subject = build(
        checkpoint, flags=settings.hints, data=settings.data, images=settings.images, rng=rng, reference=reference
    )
    return Prepared(checkpoint=checkpoint, reference=reference, subject=subject)


def traits(subject: Subject) -> Traits:
    """By what a model is compared with its like."""
    return Traits(family=families.family(subject.classifier.net), classes=subject.classes, size=max(subject.shape[1:]))


def tier(subject: Subject) -> Tier:
    return Tier.IMAGES if subject.probes.source is ProbeSource.CLEAN else Tier.NONE


def _reference(settings: Settings, limits: Limits | None) -> Checkpoint | None:
    """Read as safely as the model itself; whatever is wrong with it is a mistake in the request, not a finding."""
    if settings.reference is None:
        return None
    named = settings.model if settings.weights else None  # timm:NAME and the like say what the parent is as well
    try:
        return load(settings.reference, arch=settings.arch or named, limits=limits)
    except BdscanError as error:
        raise UsageError(f"the reference {settings.reference} cannot be read: {error}") from error


def _facts(ready: Prepared) -> ModelFacts:
    checkpoint, subject, reference = ready.checkpoint, ready.subject, ready.reference
    parent = (
        f"Compared with the reference {printable(reference.path)}, SHA-256 {reference.sha256}." if reference else ""
    )
    return ModelFacts(
        path=printable(checkpoint.path),
        sha256=checkpoint.sha256,
        format=checkpoint.format.value,
        architecture=checkpoint.architecture,
        num_classes=subject.classes,
        input=subject.shape,
        preprocessing=subject.classifier.preprocessing,
        family=families.family(subject.classifier.net),
        notes=(*checkpoint.notes, *subject.probes.notes, *filter(None, [parent])),
    )
