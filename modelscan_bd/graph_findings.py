"""What was seen in a graph, as findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from modelscan_bd.graph.sight import Sight
from modelscan_bd.results import Finding
from modelscan_bd.rule import GraphRule
from modelscan_bd.rulebook import Rulebook

_WHOLE = 1.0  # of a fact: it is so
_TOLD = 3  # findings of one rule; more of the same say nothing new


def graph_findings(sights: Iterable[Sight], book: Rulebook, detector: str | None = None) -> Iterator[Finding]:
    """One for each sight that a rule is about. `detector` made the sights; None: they are of the file itself."""
    told = Counter[str]()
    for sight in sights:
        for rule in book.graph:
            if rule.fits(sight) and told[rule.id] < _TOLD:
                told[rule.id] += 1
                yield _finding(sight, rule, detector)


def _finding(sight: Sight, rule: GraphRule, detector: str | None) -> Finding:
    return Finding(
        rule=rule.id,
        severity=rule.severity,
        confidence=rule.confidence,
        value=_WHOLE,
        threshold=_WHOLE,
        target_label=sight.target,
        message=f"{rule.title}: {sight.message}.",
        remedy=rule.remedy,
        detector=detector,
        place=sight.place,
    )
