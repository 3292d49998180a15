"""The measured models as a scan would judge them: by others among them, and by the rules that ship."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, final

from modelscan_bd import judge
from modelscan_bd.bench import calibrate, protocol
from modelscan_bd.bench.protocol import SORTS, Seen
from modelscan_bd.bench.report.power import Reading
from modelscan_bd.bench.store import Result
from modelscan_bd.known import KnownModel
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Evidence

_CONFIGURATION = SORTS["configuration"]
_MOST_CLASSES = 100_000  # a larger number of a class is no class

_Results: TypeAlias = Mapping[tuple[str, str], Result]  # by model and tier


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured, as a table of known models, and the rules by which it is judged."""

    results: _Results
    models: tuple[KnownModel, ...]
    book: Rulebook

    @classmethod
    def of(cls, results: Sequence[Result], book: Rulebook) -> Measured:
        models = calibrate.known_models(results, book)
        return cls(results={(r["model"], r["tier"]): r for r in results}, models=models, book=book)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the scores that count."""
        return tuple(rule.key for rule in self.book.measured)


def among_themselves(
    measured: Measured, left_out: str, keys: Iterable[str] | None = None, *, targets: bool = True
) -> list[Reading]:
    """Each model judged by the benign ones that are of another sort. `targets`: whether to look at what is named."""
    sort, models = SORTS[left_out], measured.models
    counting = tuple(measured.keys if keys is None else keys)
    book = measured.book if keys is None else replace(measured.book, graph=())  # these scores, and nothing else
    seen = protocol.judged(models, sort, book, counting)
    return [
        Reading(
            result=measured.results[one.model.name, one.model.tier],
            seen=one,
            named=_named(measured, one, [m for m in models if sort(m) != sort(one.model)]) if targets else None,
        )
        for one in seen
    ]


def by_the_rules_that_ship(measured: Measured) -> list[Reading]:
    """Each model judged by the known models of the rules, none of which is of a configuration that was measured."""
    configurations = {_CONFIGURATION(model) for model in measured.models}
    others = [m for m in measured.book.known if not m.infected and _CONFIGURATION(m) not in configurations]

    def is_measured(model: KnownModel) -> bool:
        return _CONFIGURATION(model) in configurations

    seen = protocol.judged([*measured.models, *others], is_measured, measured.book, measured.keys)
    return [
        Reading(result=measured.results[one.model.name, one.model.tier], seen=one, named=_named(measured, one, others))
        for one in seen
        if is_measured(one.model)
    ]


def _named(measured: Measured, seen: Seen, others: Sequence[KnownModel]) -> int | None:
    """The first class that the report of a scan would name."""
    model = seen.model
    book = replace(measured.book, known=tuple(other for other in others if not other.infected))
    top = measured.results[model.name, model.tier]["top"]
    judged = judge.judge(tuple(_evidence(seen, top)), book, model.traits, model.tier)
    return judged.target_labels[0] if judged.target_labels else None


def _evidence(seen: Seen, top: Mapping[str, Mapping[str, int]]) -> Iterator[Evidence]:
    """The scores that counted. Of all classes, a store keeps the one that stands out."""
    detectors = {key.partition(".")[0] for key in seen.standing.deviations}
    for detector in sorted(detectors):
        scores = {
            name: seen.model.scores[f"{detector}.{name}"]
            for owner, _, name in (key.partition(".") for key in seen.standing.deviations)
            if owner == detector
        }
        yield Evidence(
            detector=detector,
            scores=scores,
            per_class={
                name: _only(top[detector][name]) for name in scores if _is_class(top.get(detector, {}).get(name))
            },
        )


def _is_class(label: object) -> bool:
    return isinstance(label, int) and 0 <= label < _MOST_CLASSES


def _only(label: int) -> tuple[float, ...]:
    """Values of classes, of which one stands out."""
    return (*(0.0,) * label, 1.0)


def without(measured: Measured, detectors: Iterable[str]) -> tuple[str, ...]:
    """The scores that count, but for those of some detectors."""
    gone = set(detectors)
    return tuple(key for key in measured.keys if key.partition(".")[0] not in gone)
