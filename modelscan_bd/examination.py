"""What was seen of one model: from the events of its measurement and the findings about its file to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import final

from modelscan_bd import __version__, registry, verdict
from modelscan_bd.errors import UnreadableModel, UnsafeModel
from modelscan_bd.facts import file_facts
from modelscan_bd.grades import Severity
from modelscan_bd.graph_findings import graph_findings
from modelscan_bd.hearing import Heard
from modelscan_bd.results import Check, Evidence, Finding, Judgement, ModelFacts, Outcome, Report
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.settings import Settings
from modelscan_bd.summary import summary

_DOUBTED = "{} Running the network did not bear this out."


@final
@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was seen, before anyone asks how long it took."""

    model: ModelFacts
    detectors: Mapping[str, str] = field(default_factory=dict)  # that were to run, with their settings as text
    not_run: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    incomplete: tuple[str, ...] = ()
    score: float = 0.0
    target_labels: tuple[int, ...] = ()
    judgement: Judgement | None = None

    def report(self, settings: Settings, started: datetime, *, seconds: float) -> Report:
        answer = verdict.verdict(self.findings, self.incomplete)
        return Report(
            tool=f"bdscan {__version__}",
            model=self.model,
            verdict=answer,
            summary=summary(answer, self.findings, self.judgement, self.target_labels, self.outcomes, self.incomplete),
            score=self.score,
            judgement=self.judgement,
            target_labels=self.target_labels,
            findings=self.findings,
            evidence=self.outcomes,
            preflight=self.checks,
            incomplete=self.incomplete,
            settings=settings.shown() | {"detectors": dict(self.detectors), "not_run": list(self.not_run)},
            seed=settings.seed,
            started=started.isoformat(timespec="seconds"),
            seconds=seconds,
        )


def malicious(model: str, findings: Sequence[Finding]) -> Examination:
    """Nothing was loaded, so nothing was measured."""
    found = verdict.by_severity(findings)
    return Examination(model=file_facts(model), not_run=registry.offered(), findings=found, score=1.0)


def broken(model: str, findings: Sequence[Finding], error: UnreadableModel) -> Examination:
    """Something was found, and then nothing could be loaded."""
    from modelscan_bd import comparison  # scipy, as below

    least = comparison.LEAST_SCORES.get(verdict.verdict(findings, ()), 0.0)
    return Examination(
        model=file_facts(model),
        not_run=registry.offered(),
        findings=tuple(findings),
        incomplete=(str(error),),
        score=least,
    )


def examined(heard: Heard, of_file: Sequence[Finding], book: Rulebook, model: str) -> Examination:
    """What a measurement told, judged. What it could not tell is a gap."""
    if isinstance(heard.ended, UnsafeModel):
        return malicious(model, (verdict.unsafe(heard.ended, book), *of_file))
    facts = heard.loaded.model if heard.loaded else file_facts(model)
    seen = Examination(
        model=replace(facts, notes=(*facts.notes, *heard.plan.notes)),
        detectors=heard.plan.detectors,
        not_run=heard.plan.not_run,
        incomplete=() if heard.ended is None else (str(heard.ended),),
    )
    return _judged(seen, heard, of_file, book)


def _judged(seen: Examination, heard: Heard, found: Sequence[Finding], book: Rulebook) -> Examination:
    from modelscan_bd import comparison, judge  # scipy: most of a second, which who is malicious need not wait for

    checks, outcomes = heard.checks or (), heard.complete()
    claimed = graph_findings(heard.loaded.sights, book) if heard.loaded else ()
    found = (*_with_graph(found, outcomes, book), *claimed)
    least = comparison.LEAST_SCORES.get(verdict.verdict(found, ()), 0.0)
    if heard.loaded is None:
        return replace(seen, findings=verdict.by_severity(found), score=least)
    said = judge.judge(outcomes, book, heard.loaded.traits, heard.loaded.tier)
    gaps = (*verdict.gaps(checks, outcomes, book.measured), *filter(None, [said.gap]))
    return replace(
        seen,
        checks=checks,
        outcomes=outcomes,
        findings=verdict.by_severity((*said.findings, *found)),
        incomplete=(*seen.incomplete, *gaps),
        score=max(said.score, least),
        target_labels=tuple(dict.fromkeys((*_targets(found), *said.target_labels))),
        judgement=said.judgement,
    )


def _with_graph(found: Sequence[Finding], outcomes: Sequence[Outcome], book: Rulebook) -> tuple[Finding, ...]:
    """Who could run the graph knows more of it than who could only read it, who knows what its nodes are called.

    A finding on the file stays as it is where running the graph led to one by the same rule, and else weighs little.
    """
    looked = [one for one in outcomes if isinstance(one, Evidence) and one.sights is not None]
    if not looked:
        return tuple(found)
    run = [finding for one in looked for finding in graph_findings(one.sights or (), book, one.detector)]
    doubted = {rule.id for rule in book.graph} - {one.rule for one in run}
    read = [
        replace(one, severity=Severity.LOW, message=_DOUBTED.format(one.message)) if one.rule in doubted else one
        for one in found
    ]
    return (*read, *(one for one in run if one.rule not in {other.rule for other in read}))


def _targets(found: Sequence[Finding]) -> list[int]:
    return [one.target_label for one in found if one.target_label is not None and one.severity is Severity.HIGH]
