"""From TOML to rules. A rule file is data: how one score is judged, why, and on what that was calibrated."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, final

from modelscan_bd.errors import UsageError
from modelscan_bd.types import Calibration, Card, FileRule, Rule

_ID = re.compile(r"BD[1-9][0-9]{2}")
_PROSE = ("id", "title", "why", "remedy", "paper")
_CALIBRATION = ("suite", "benign", "infected", "false_alarms", "interval", "auroc", "date", "method")
_T = TypeVar("_T")


@final
@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """The rules of a scan: those that judge scores, and those about the file itself. Ids are unique."""

    measured: tuple[Rule, ...]
    file: tuple[FileRule, ...]

    def __iter__(self) -> Iterator[Rule | FileRule]:
        yield from self.measured
        yield from self.file

    def find(self, rule_id: str) -> Rule | FileRule:
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

    Raises UsageError, naming the file, for anything that is not a valid rule.
    """
    rules = read(files("modelscan_bd.rules"))
    if own is not None:
        if not own.is_dir():
            raise UsageError(f"'{own}' is not a folder of rules")
        rules = {**rules, **read(own)}
    ordered = [rules[rule_id] for rule_id in sorted(rules)]
    return Rulebook(
        measured=tuple(rule for rule in ordered if isinstance(rule, Rule)),
        file=tuple(rule for rule in ordered if isinstance(rule, FileRule)),
    )


def read(folder: Traversable) -> dict[str, Rule | FileRule]:
    """The rules of one folder by id. Raises UsageError where two share an id."""
    rules: dict[str, Rule | FileRule] = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            rule = parse(_text(file), origin=file.name)
            if rule.id in rules:
                raise UsageError(f"{file.name}: another rule in that folder has the id {rule.id} too")
            rules[rule.id] = rule
    return rules


def parse(text: str, *, origin: str) -> Rule | FileRule:
    """One rule. A rule without a detector is about the file itself.

    Raises UsageError, beginning with `origin`, for a missing or unknown key, a wrong type or an impossible level.
    """
    try:
        return _rule(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise UsageError(f"{origin}: {error}", remedy="See CONTRIBUTING for what a rule holds.") from error


def _text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name}: this rule cannot be read ({error})") from error


def _rule(table: Mapping[str, Any]) -> Rule | FileRule:
    if "detector" not in table:
        _only(table, _PROSE, "the rule")
        return FileRule(**_prose(table))
    _only(table, (*_PROSE, "detector", "score", "levels", "calibration"), "the rule")
    levels = _of(table, "levels", dict)
    _only(levels, ("suspicious", "infected"), "[levels]")
    suspicious, infected = _number(levels, "suspicious"), _number(levels, "infected")
    if infected < suspicious:
        raise ValueError("the level 'infected' lies below 'suspicious'")
    return Rule(
        **_prose(table),
        detector=_of(table, "detector", str),
        score=_of(table, "score", str),
        suspicious=suspicious,
        infected=infected,
        calibration=_calibration(_of(table, "calibration", dict)),
    )


def _prose(table: Mapping[str, Any]) -> dict[str, str]:
    prose = {key: _of(table, key, str) for key in _PROSE}
    if not _ID.fullmatch(prose["id"]):
        raise ValueError(f"the id '{prose['id']}' is not of the form BD101")
    return prose


def _calibration(table: Mapping[str, Any]) -> Calibration:
    _only(table, _CALIBRATION, "[calibration]")
    interval = _of(table, "interval", list)
    if len(interval) != 2 or not all(isinstance(end, int | float) for end in interval):
        raise ValueError("'interval' is not a pair of numbers")
    return Calibration(
        suite=_of(table, "suite", str),
        benign=_of(table, "benign", int),
        infected=_of(table, "infected", int),
        false_alarms=_number(table, "false_alarms"),
        interval=(float(interval[0]), float(interval[1])),
        auroc=_number(table, "auroc") if "auroc" in table else None,
        date=_of(table, "date", str),
        method=_of(table, "method", str),
    )


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
