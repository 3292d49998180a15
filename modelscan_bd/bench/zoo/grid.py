"""From the blocks of a suite to its models: every axis of a block is multiplied out, and benign twins are added."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelscan_bd.bench.recipe import Recipe
from modelscan_bd.bench.zoo.entry import Entry, rated
from modelscan_bd.errors import UsageError

_AXES = ("attacks", "datasets", "archs", "rates", "recipes", "seeds", "targets")
_NEEDED = ("datasets", "archs", "recipes")


def expand(blocks: Iterable[Mapping[str, Any]], recipes: Mapping[str, Recipe]) -> tuple[Entry, ...]:
    """All models, each once: the benign ones first, since infected ones are compared with them.

    Raises UsageError for a block with an unknown axis or recipe, or without one it needs.
    """
    asked = [entry for block in blocks for entry in _block(block, recipes)]
    benign = [entry.twin for entry in asked]
    infected = [entry for entry in asked if entry.attack]
    return tuple({entry.name: entry for entry in (*benign, *infected)}.values())


def many(value: object) -> list[Any]:
    """A single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


def _block(block: Mapping[str, Any], recipes: Mapping[str, Recipe]) -> Iterator[Entry]:
    unknown, missing = set(block) - set(_AXES), [axis for axis in _NEEDED if not block.get(axis)]
    if unknown or missing:
        what = f"no axis {min(unknown)!r}" if unknown else f"to name its {missing[0]}"
        raise UsageError(f"a block of models has {what}", remedy=f"Its axes are {', '.join(_AXES)}.")
    axes, seeds = [many(block[axis]) for axis in _NEEDED], many(block.get("seeds", 0))
    if not all(isinstance(name, str) for axis in axes for name in axis) or not all(type(n) is int for n in seeds):
        raise UsageError(f"a block of models names something by other than words: {block!r:.200}")
    for dataset, arch, recipe in itertools.product(*axes):
        if recipe not in recipes:
            raise UsageError(f"there is no recipe {recipe!r}", remedy=f"The suite has {', '.join(recipes) or 'none'}.")
        for seed in seeds:
            honest = Entry(dataset=dataset, arch=arch, recipe_name=recipe, recipe=recipes[recipe], seed=seed)
            yield from _infections(honest, block)


def _infections(honest: Entry, block: Mapping[str, Any]) -> Iterator[Entry]:
    """The model with every attack of the block; as it is, if there are none."""
    attacks = many(block.get("attacks", []))
    if not attacks:
        yield honest
    for attack in attacks:
        if not isinstance(attack, (str, Mapping)):
            raise UsageError(f"an attack of a suite is neither a name nor a table: {attack!r}")
        table = {"id": attack} if isinstance(attack, str) else dict(attack)
        name = table.pop("id", None)
        if not isinstance(name, str):
            raise UsageError(f"an attack of a suite has no id: {attack!r}", remedy='Write { id = "badnets", ... }.')
        for settings in _settings(table | _common(name, table, block)):
            yield dataclasses.replace(honest, attack=name, settings=settings)


def _common(name: str, own: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    """Targets and rates of the block, where the attack has none of its own. Not every attack has a rate."""
    shared = {"target": block.get("targets"), "rate": block.get("rates") if _rated(name) else None}
    return {key: value for key, value in shared.items() if value is not None and key not in own}


def _rated(name: str) -> bool:
    try:
        return rated(name)
    except UsageError:  # not installed: cannot be built, and is listed so
        return True


def _settings(table: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    for values in itertools.product(*(many(value) for value in table.values())):
        yield dict(zip(table, values, strict=True))
