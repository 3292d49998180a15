"""From measured models to rules: the table that verdicts compare with, and what is promised of them.

No level is fitted: benign models are what a model is compared with, and the levels are shares of them. Infected models
only say how well that finds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelscan_bd import known, rulebook, stats
from modelscan_bd.bench import protocol
from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.facts import countable
from modelscan_bd.bench.groups import groups
from modelscan_bd.bench.protocol import SORTS, Seen
from modelscan_bd.bench.store import Result
from modelscan_bd.errors import UsageError
from modelscan_bd.known import KnownModel
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Calibration, Promise, Rule, Tier, VerdictRule

FEWEST = 19  # benign models; among fewer, none stands out at a level of 0.05
_TABLES = re.compile(r"^\[(calibration|promise)\]\n(?:(?!\[).*\n?)*", re.MULTILINE)
_DIGITS = 4


def known_models(results: Sequence[Result], book: Rulebook) -> tuple[KnownModel, ...]:
    """The table: benign and infected models with the scores that count. Weak models are neither.

    A detector's scores are left out for the models that it has learnt from.
    """
    kinds, keys = groups(), {rule.key for rule in book.measured} | book.shown.keys()
    found = (_known(result, keys, kinds) for result in countable(results) if _counts(result))
    return tuple(sorted(found, key=lambda model: (model.tier, model.infected, model.name)))


def _counts(result: Result) -> bool:
    """Models that could not even be looked at have no traits, and nothing to compare."""
    return result["truth"]["outcome"] in (Outcome.BENIGN, Outcome.INFECTED) and result["traits"] is not None


def _known(result: Result, keys: set[str], kinds: Mapping[str, str]) -> KnownModel:
    truth = result["truth"]
    attack = truth["attack"] or ""
    scores = {f"{detector}.{name}": x for detector, values in result["scores"].items() for name, x in values.items()}
    return KnownModel(
        name=result["model"],
        tier=result["tier"],
        infected=truth["outcome"] == Outcome.INFECTED,
        attack=attack,
        kind=kinds.get(attack, attack),
        dataset=truth["dataset"],
        arch=truth["arch"],
        recipe=truth["recipe"] or "",
        traits=result["traits"],
        scores={key: value for key, value in sorted(scores.items()) if key in keys},
    )


# ---------------------------------------------------------------- what is said of it


def recalibrated(rule: Rule, models: Sequence[KnownModel], *, suite: str, date: str) -> Rule:
    """The rule with its score's own figures, with clean images where there are such measurements."""
    tier = Tier.IMAGES if any(model.tier is Tier.IMAGES for model in models) else Tier.NONE
    having = [model for model in models if model.tier is tier and rule.key in model.scores]
    benign, infected = ([m.scores[rule.key] for m in having if m.infected is side] for side in (False, True))
    known_side = bool(benign and infected)
    rng = np.random.default_rng(0)
    interval = stats.bootstrap(stats.auroc, benign, infected, rng=rng, rounds=500) if known_side else None
    return replace(
        rule,
        calibration=Calibration(
            suite=suite,
            benign=len(benign),
            infected=len(infected),
            auroc=round(stats.auroc(benign, infected), _DIGITS) if known_side else None,
            interval=interval and (round(interval[0], _DIGITS), round(interval[1], _DIGITS)),
            date=date,
        ),
    )


def promised(book: Rulebook, models: Sequence[KnownModel], *, suite: str, date: str) -> VerdictRule:
    """The verdict's rule with the error rates that it had on models of data sets it was not compared with.

    Where there is but one data set, of configurations. Raises UsageError for too few benign models.
    """
    sort = "data set" if len({model.dataset for model in models}) > 1 else "configuration"
    seen = protocol.judged(models, SORTS[sort], book, [rule.key for rule in book.measured])
    tier = Tier.IMAGES if protocol.of_tier(seen, Tier.IMAGES) else Tier.NONE
    return replace(book.verdict, promise=_promise(protocol.of_tier(seen, tier), sort, tier, suite, date))


def _promise(seen: Sequence[Seen], sort: str, tier: Tier, suite: str, date: str) -> Promise:
    suspicious = protocol.alarms(seen, infected=False)
    infected = protocol.alarms(seen, infected=False, only_infected=True)
    if suspicious.n < FEWEST:
        raise UsageError(
            f"{suspicious.n} benign models could be judged by others", remedy=f"At least {FEWEST} are needed."
        )
    found = protocol.auroc(seen)
    return Promise(
        suite=suite,
        method=f"each {sort} judged by the benign models of the others, "
        f"{'with clean images' if tier is Tier.IMAGES else 'without images'}",
        benign=suspicious.n,
        infected=protocol.alarms(seen, infected=True).n,
        false_alarms=round(suspicious.share, _DIGITS),
        interval=suspicious.interval,
        false_infected=round(infected.share, _DIGITS),
        infected_interval=infected.interval,
        auroc=None if found is None else round(found, _DIGITS),
        date=date,
    )


# ---------------------------------------------------------------- writing


def write(book: Rulebook, models: Sequence[KnownModel], out: Path, *, suite: str, date: str) -> Iterator[str]:
    """Writes table and rules into a folder; yields a line on each. Prose that stands there is left alone."""
    models = known.parse(known.render(models), origin=known.FILE)  # figures are of what readers will see
    verdict = promised(book, models, suite=suite, date=date)  # before anything is written: it may raise
    out.mkdir(parents=True, exist_ok=True)
    (out / known.FILE).write_text(known.render(models), encoding="utf-8")
    yield f"{known.FILE}: {len(models)} rows"
    for rule in book.measured:
        better = recalibrated(rule, models, suite=suite, date=date)
        _write_rule(better, out)
        base = better.calibration
        power = "no infected models" if base.auroc is None else f"AUROC {base.auroc:.3f}"
        yield f"{rule.id} {rule.key}: {base.benign} benign, {base.infected} infected, {power}"
    _write_rule(verdict, out)
    promise, (low, high) = verdict.promise, verdict.promise.interval
    yield (
        f"{verdict.id}: false alarms {promise.false_alarms:.1%} ({low:.1%} to {high:.1%}) of {promise.benign} benign "
        "models" + ("" if promise.auroc is None else f", AUROC {promise.auroc:.3f}")
    )


def _write_rule(rule: Rule | VerdictRule, folder: Path) -> None:
    file = _file_of(rule, folder)
    text = file.read_text(encoding="utf-8") if file.is_file() else _prose(rule)
    text = f"{_TABLES.sub('', text).rstrip()}\n\n{_figures(rule)}"
    if rulebook.parse(text, origin=file.name) != rule:
        raise UsageError(f"{file} would not read back as the rule that was written")
    file.write_text(text, encoding="utf-8")


def _file_of(rule: Rule | VerdictRule, folder: Path) -> Path:
    """Where the rule of that id stands in the folder, or may be put."""
    for file in sorted(folder.glob("*.toml")):
        if rulebook.parse(file.read_text(encoding="utf-8"), origin=file.name).id == rule.id:
            return file
    return folder / f"{rule.id.lower()}.toml"


def _prose(rule: Rule | VerdictRule) -> str:
    lines = [f"{key} = {_toml(getattr(rule, key))}" for key in ("id", "title", "why", "remedy", "paper")]
    if isinstance(rule, Rule):
        return "\n".join([*lines, f"detector = {_toml(rule.detector)}", f"score = {_toml(rule.score)}"]) + "\n"
    levels = ["", "[levels]", f"suspicious = {rule.suspicious!r}", f"infected = {rule.infected!r}"]
    strata = [f"{key} = {_toml(getattr(rule.strata, key))}" for key in ("least", "classes", "size")]
    return "\n".join([*lines, *levels, "", "[strata]", *strata]) + "\n"


def _figures(rule: Rule | VerdictRule) -> str:
    title, base = ("calibration", rule.calibration) if isinstance(rule, Rule) else ("promise", rule.promise)
    lines = [f"{key} = {_toml(value)}" for key, value in vars(base).items() if value is not None]
    return "\n".join([f"[{title}]", *lines]) + "\n"


def _toml(value: object) -> str:
    """A string, number or list of numbers as TOML writes it; JSON's form of these is TOML's too."""
    return json.dumps(value, ensure_ascii=False)
