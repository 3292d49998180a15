"""Suites: the tables that say which models a zoo has. Some are shipped, by name; any other TOML file will do.

about = "What it is for."
datasets.cifar10 = { train = 50000, shape = [3, 32, 32], classes = 10 }   # to plan without having the data
recipes.short = { epochs = 12, augmentation = "crop-flip" }
recipes.cutout = { like = "short", cutout = 8 }

[[models]]                                      # each value may be a list; lists are multiplied out
datasets = "cifar10"
archs = ["vgg8-w16", "resnet10-w12"]
recipes = "short"
seeds = [0, 1]
attacks = ["wanet", { id = "badnets", size = [2, 3] }]   # none: benign models
rates = [0.01, 0.1]                                      # [default: the attack's own]
targets = 0
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, final

from modelscan_bd.bench.recipe import Recipe
from modelscan_bd.bench.zoo.entry import Entry, Facts
from modelscan_bd.bench.zoo.grid import expand
from modelscan_bd.errors import UsageError

_KEYS = {"about", "datasets", "recipes", "models"}


@final
@dataclass(frozen=True, kw_only=True)
class Suite:
    name: str
    about: str
    datasets: Mapping[str, Facts]
    entries: tuple[Entry, ...]  # benign ones first


def shipped() -> tuple[str, ...]:
    """The names of the suites that come with the package."""
    files = (resources.files(__package__) / "suites").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load(name: str) -> Suite:
    """A shipped suite by name, or one from a file. Raises UsageError where there is none, or it makes no sense."""
    if name in shipped():
        return parse((resources.files(__package__) / "suites" / f"{name}.toml").read_text(encoding="utf-8"), name)
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"there is no suite {name!r}", remedy=f"Give a file, or one of {', '.join(shipped())}.")
    try:
        return parse(file.read_text(encoding="utf-8"), file.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the suite '{file}' cannot be read: {error}") from error


def parse(text: str, name: str) -> Suite:
    """Raises UsageError where the text is no suite."""
    try:
        found = tomllib.loads(text)
        if unknown := set(found) - _KEYS:
            raise UsageError(f"it has no part {min(unknown)!r}", remedy=f"Its parts are {', '.join(sorted(_KEYS))}.")
        datasets = {key: _facts(key, value) for key, value in _tables(found, "datasets").items()}
        entries = expand(_blocks(found), _recipes(_tables(found, "recipes")))
        if strange := {entry.dataset for entry in entries} - set(datasets):
            raise UsageError(f"it says nothing of the data set {min(strange)!r}", remedy="Describe it in [datasets].")
    except (UsageError, tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        what, remedy = getattr(error, "what", error), getattr(error, "remedy", "")
        raise UsageError(f"the suite {name!r} cannot be read: {what}", remedy=remedy) from error
    return Suite(name=name, about=str(found.get("about", "")), datasets=datasets, entries=entries)


def _tables(found: Mapping[str, Any], part: str) -> Mapping[str, Mapping[str, Any]]:
    tables = found.get(part, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"its part {part!r} is no table of tables")
    return tables


def _blocks(found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    blocks = found.get("models", [])
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UsageError("its part 'models' is no list of tables", remedy="Begin each with [[models]].")
    return blocks


def _facts(name: str, table: Mapping[str, Any]) -> Facts:
    try:
        channels, height, width = table["shape"]
        return Facts(train=int(table["train"]), shape=(channels, height, width), classes=int(table["classes"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"the data set {name!r} is not described", remedy="Give train, shape (channels, height, width) and classes."
        ) from error


def _recipes(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """`like` names a recipe further up, whose fields are taken over."""
    settings: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        own = dict(table)
        model = own.pop("like", None)
        if model is not None and model not in list(settings):
            raise UsageError(
                f"the recipe {name!r} is like {model!r}, which is not further up", remedy="Put that one first."
            )
        settings[name] = (settings[model] if model else {}) | own
    return {name: Recipe.of(fields) for name, fields in settings.items()}
