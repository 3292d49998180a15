"""One scan, one straight line: settings → audit of the files → what a measurement tells → findings → report.

Only what measures needs torch. It may be another process (`supervision.watchdog`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from modelscan_bd import registry, rulebook, verdict
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.events import Event
from modelscan_bd.examination import Examination, broken, examined, malicious
from modelscan_bd.facts import file_facts
from modelscan_bd.file_findings import file_findings
from modelscan_bd.grades import Severity
from modelscan_bd.hearing import hear
from modelscan_bd.loading import hub
from modelscan_bd.results import Report, Verdict
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.settings import Settings
from modelscan_bd.watch import Silent, Watch

Measure: TypeAlias = Callable[[Settings, Watch], Iterator[Event]]


def here(settings: Settings, watch: Watch) -> Iterator[Event]:
    """Measures in this process."""
    from modelscan_bd.measuring import measure  # needs torch

    return measure(settings, watch)


def scan(settings: Settings, *, watch: Watch | None = None, measure: Measure = here) -> Report:
    """Scans one model.

    Raises UsageError for a request that makes no sense and UnreadableModel for a broken file. A file that asks to be
    run, and one that bdscan cannot measure, end in a report.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    book = rulebook.load(settings.rules)
    registry.must_be_among(settings.detectors, registry.offered())
    seen = _read_and_examine(_fetched(settings), book, measure, watch or Silent())
    return seen.report(settings, started, seconds=time.monotonic() - began)


def unread(settings: Settings, error: UnreadableModel) -> Report:
    """The report on a file that could not be read, so that no older report is taken for this scan's."""
    seen = Examination(model=file_facts(settings.model), incomplete=(str(error),))
    return seen.report(settings, datetime.now(UTC), seconds=0.0)


def _fetched(settings: Settings) -> Settings:
    """With what lies on a hub brought here: it is to be audited, and what measures may have no network."""
    reference = settings.reference
    return replace(settings, model=_here(settings.model), reference=None if reference is None else _here(reference))


def _here(named: str) -> str:
    return str(hub.fetch(named)) if named.startswith(hub.HUB) else named


def _read_and_examine(settings: Settings, book: Rulebook, measure: Measure, watch: Watch) -> Examination:
    """The files are audited first. Nothing is loaded from one that would run code."""
    of_file = file_findings(settings, book)
    if verdict.verdict(of_file, ()) is Verdict.MALICIOUS:
        return malicious(settings.model, of_file)
    try:
        return examined(hear(measure(settings, watch)), of_file, book, settings.model)
    except UnreadableModel as error:
        if not any(one.severity is Severity.HIGH for one in of_file):
            raise
        return broken(settings.model, of_file, error)  # what attacks its readers is worse than broken
