"""From TOML to rules. A rule file is data: a score that counts, how all of them are judged together, a pattern of
graphs, or a fact about the file itself; and why, and on what that was calibrated.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, final

from modelscan_bd import known
from modelscan_bd.cards import Card
from modelscan_bd.errors import UsageError
from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.known import KnownModel
from modelscan_bd.rule import Calibration, FileRule, GraphRule, Promise, Rule, Strata, VerdictRule

_ID = re.compile(r"BD[1-9][0-9]{2}")
_PROSE = ("id", "title", "why", "remedy", "paper")
_CALIBRATION = ("suite", "benign", "infected", "auroc", "interval", "date")
_PROMISE = (
    "suite", "method", "benign", "infected", "false_alarms", "interval", "false_infected", "infected_interval", "auroc",
    "date",
)  # fmt: skip
_T = TypeVar("_T")

AnyRule: TypeAlias = Rule | VerdictRule | GraphRule | FileRule


@final
@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """The rules of a scan: which scores count, how they are judged together, those about graphs and about the file.

    `known` are the models that a verdict compares with. Ids are unique.
    """

    verdict: VerdictRule
    measured: tuple[Rule, ...]
    graph: tuple[GraphRule, ...]
    file: tuple[FileRule, ...]
    known: tuple[KnownModel, ...]

    def __iter__(self) -> Iterator[AnyRule]:
        yield self.verdict
        yield from self.measured
        yield from self.graph
        yield from self.file

    @property
    def shown(self) -> Mapping[str, float]:
        """Scores from which on a known model would have been called infected, whatever its others."""
        return {key: least for rule in self.graph for key, least in rule.known_by.items()}

    def find(self, rule_id: str) -> AnyRule:
        """The rule of that id. Raises UsageError where there is none."""
        rules = {rule.id: rule for rule in self}
        if rule_id.upper() not in rules:
            raise UsageError(f"there is no rule '{rule_id}'", remedy=f"Known are: {', '.join(sorted(rules))}.")
        return rules[rule_id.upper()]

    def must_fit(self, cards: Iterable[Card]) -> None:
        """Raises UsageError for a rule about a detector or score that does not exist: it would never fire."""
        scores = {card.id: tuple(card.scores) for card in cards}
        for rule in self.measured:
            if rule.detector not in scores:
                raise UsageError(f"rule {rule.id} judges the detector '{rule.detector}', which is not installed")
            if rule.score not in scores[rule.detector]:
                raise UsageError(
                    f"rule {rule.id} judges the score '{rule.score}', which {rule.detector} does not give",
                    remedy=f"Its scores are: {', '.join(scores[rule.detector])}.",
                )


def load(own: Path | None = None) -> Rulebook:
    """The built-in rules; those in the folder `own` are added, and replace built-in ones of the same id.

    A table of known models in `own` takes the place of the built-in one. Raises UsageError, naming the file, for
    anything that is not a valid rule or table.
    """
    built_in: Traversable = files("modelscan_bd.rules")
    folders = [built_in]
    if own is not None:
        if not own.is_dir():
            raise UsageError(f"'{own}' is not a folder of rules")
        folders.append(own)
    rules = {rule.id: rule for folder in folders for rule in read(folder).values()}
    ordered = [rules[rule_id] for rule_id in sorted(rules)]
    tables = [folder / known.FILE for folder in folders if (folder / known.FILE).is_file()]
    return Rulebook(
        verdict=_only_one([rule for rule in ordered if isinstance(rule, VerdictRule)]),
        measured=tuple(rule for rule in ordered if isinstance(rule, Rule)),
        graph=tuple(rule for rule in ordered if isinstance(rule, GraphRule)),
        file=tuple(rule for rule in ordered if isinstance(rule, FileRule)),
        known=known.parse(_text(tables[-1]), origin=known.FILE) if tables else (),
    )


def _only_one(rules: Sequence[VerdictRule]) -> VerdictRule:
    if len(rules) != 1:
        raise UsageError(
            f"{len(rules)} rules say how scores are judged together: {', '.join(rule.id for rule in rules)}",
            remedy="There must be one; give yours the id of the built-in one.",
        )
    return rules[0]


def read(folder: Traversable) -> dict[str, AnyRule]:
    """The rules of one folder by id. Raises UsageError where two share an id."""
    rules: dict[str, AnyRule] = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            rule = parse(_text(file), origin=file.name)
            if rule.id in rules:
                raise UsageError(f"{file.name}: another rule in that folder has the id {rule.id} too")
            rules[rule.id] = rule
    return rules


def parse(text: str, *, origin: str) -> AnyRule:
    """One rule. Only the rule of the verdict has levels, only those about graphs have a pattern; any other without a
    detector is about the file itself.

    Raises UsageError, beginning with `origin`, for a missing or unknown key, a wrong type or an impossible level.
    """
    try:
        return _rule(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{origin}: {error}", remedy="See CONTRIBUTING for what a rule holds.") from error


def _text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name}: this rule cannot be read ({error})") from error


def _rule(table: Mapping[str, Any]) -> AnyRule:
    if "levels" in table:
        return _verdict(table)
    if "pattern" in table:
        return _graph(table)
    if "detector" not in table:
        _only(table, _PROSE, "the rule")
        return FileRule(**_prose(table))
    _only(table, (*_PROSE, "detector", "score", "calibration"), "the rule")
    return Rule(
        **_prose(table),
        detector=_of(table, "detector", str),
        score=_of(table, "score", str),
        calibration=_calibration(_of(table, "calibration", dict)),
    )


def _graph(table: Mapping[str, Any]) -> GraphRule:
    _only(table, (*_PROSE, "pattern", "severity", "confidence", "at_least", "at_most", "known_by"), "the rule")
    return GraphRule(
        **_prose(table),
        pattern=_of(table, "pattern", str),
        severity=Severity(_of(table, "severity", str)),
        confidence=Confidence(_of(table, "confidence", str)),
        at_least=_bounds(table, "at_least"),
        at_most=_bounds(table, "at_most"),
        known_by=_bounds(table, "known_by"),
    )


def _bounds(table: Mapping[str, Any], key: str) -> dict[str, float]:
    bounds = _of(table, key, dict) if key in table else {}
    return {figure: _number(bounds, figure) for figure in bounds}


def _verdict(table: Mapping[str, Any]) -> VerdictRule:
    _only(table, (*_PROSE, "levels", "strata", "promise"), "the rule")
    levels, strata = _of(table, "levels", dict), _of(table, "strata", dict)
    _only(levels, ("suspicious", "infected"), "[levels]")
    _only(strata, ("least", "classes", "size"), "[strata]")
    suspicious, infected = _number(levels, "suspicious"), _number(levels, "infected")
    if not 0 < infected <= suspicious < 1:
        raise ValueError("the levels are not shares of benign models, 0 < infected <= suspicious < 1")
    return VerdictRule(
        **_prose(table),
        suspicious=suspicious,
        infected=infected,
        strata=Strata(
            least=_of(strata, "least", int), classes=_rising(strata, "classes"), size=_rising(strata, "size")
        ),
        promise=_promise(_of(table, "promise", dict)),
    )


def _prose(table: Mapping[str, Any]) -> dict[str, str]:
    prose = {key: _of(table, key, str) for key in _PROSE}
    if not _ID.fullmatch(prose["id"]):
        raise ValueError(f"the id '{prose['id']}' is not of the form BD101")
    return prose


def _calibration(table: Mapping[str, Any]) -> Calibration:
    _only(table, _CALIBRATION, "[calibration]")
    return Calibration(
        suite=_of(table, "suite", str),
        benign=_of(table, "benign", int),
        infected=_of(table, "infected", int),
        auroc=_number(table, "auroc") if "auroc" in table else None,
        interval=_pair(table, "interval") if "interval" in table else None,
        date=_of(table, "date", str),
    )


def _promise(table: Mapping[str, Any]) -> Promise:
    _only(table, _PROMISE, "[promise]")
    return Promise(
        suite=_of(table, "suite", str),
        method=_of(table, "method", str),
        benign=_of(table, "benign", int),
        infected=_of(table, "infected", int),
        false_alarms=_number(table, "false_alarms"),
        interval=_pair(table, "interval"),
        false_infected=_number(table, "false_infected"),
        infected_interval=_pair(table, "infected_interval"),
        auroc=_number(table, "auroc") if "auroc" in table else None,
        date=_of(table, "date", str),
    )


def _pair(table: Mapping[str, Any], key: str) -> tuple[float, float]:
    ends = _of(table, key, list)
    if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        raise ValueError(f"'{key}' is not a pair of numbers")
    return float(ends[0]), float(ends[1])


def _rising(table: Mapping[str, Any], key: str) -> tuple[int, ...]:
    limits = _of(table, key, list)
    if not all(isinstance(limit, int) for limit in limits) or sorted(set(limits)) != limits:
        raise ValueError(f"'{key}' is not a list of whole numbers that rise")
    return tuple(limits)


def _only(table: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}' in {where}")


def _of(table: Mapping[str, Any], key: str, kind: type[_T]) -> _T:
    if key not in table:
        raise ValueError(f"the key '{key}' is missing")
    value = table[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"'{key}' should be a {kind.__name__}, not {value!r}")
    return value


def _number(table: Mapping[str, Any], key: str) -> float:
    value = float(_of(table, key, int if isinstance(table.get(key), int) else float))
    if not math.isfinite(value):
        raise ValueError(f"'{key}' should be a finite number")
    return value
