"""One model that a suite asks for, and the name of its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, final

from modelscan_bd import attacks
from modelscan_bd.attacks import Attack, Stage
from modelscan_bd.bench.make import TrainSpec
from modelscan_bd.bench.recipe import Recipe
from modelscan_bd.errors import UsageError

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What must be known of a data set to plan with it, without having it."""

    train: int  # images
    shape: tuple[int, int, int]  # channels, height, width
    classes: int


@final
@dataclass(frozen=True, kw_only=True)
class Entry:
    """Everything that decides a model. The data set and the recipe go by the suite's short names."""

    dataset: str
    arch: str
    recipe_name: str
    recipe: Recipe
    seed: int
    attack: str | None = None  # None: benign
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @cached_property
    def infection(self) -> Attack | None:
        """Raises UsageError for an attack that is not installed, or that has no such setting."""
        return _made(self.attack, json.dumps(dict(self.settings), default=str)) if self.attack else None

    @cached_property
    def problem(self) -> str | None:
        """Why the attack cannot be had, if so."""
        try:
            self.infection  # noqa: B018 - is kept
        except UsageError as error:
            return error.what
        return None

    @cached_property
    def name(self) -> str:
        """Readable, and different for every other specification: it ends in a digest of all settings."""
        rate = [] if self.rate is None else [f"{self.rate:g}"]
        parts = [self.dataset, self.arch, self.attack or "benign", *rate, self.recipe_name, f"s{self.seed}"]
        return "_".join([*(_NOT_IN_NAMES.sub("-", part) for part in parts), self._digest()])

    @property
    def rate(self) -> float | None:
        """The share of the training images that the attacker poisons; None where he does not touch them."""
        if self.attack is None or self.problem:
            return None
        return self.infection.rate if self.infection and rated(self.attack) else None

    @property
    def twin(self) -> Entry:
        """The benign model that differs in nothing else."""
        return dataclasses.replace(self, attack=None, settings={})

    def spec(self) -> TrainSpec:
        return TrainSpec(arch=self.arch, attack=self.infection, recipe=self.recipe, seed=self.seed)

    def plain(self) -> dict[str, Any]:
        """For JSON; defaults that a later version changes are written out too."""
        return {
            "name": self.name,
            "dataset": self.dataset,
            "arch": self.arch,
            "attack": self.attack,
            "settings": self._all_settings(),
            "rate": self.rate,
            "recipe_name": self.recipe_name,
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "twin": self.twin.name if self.attack else None,
        }

    def _all_settings(self) -> dict[str, object]:
        if self.problem or self.infection is None:
            return dict(self.settings)
        return dataclasses.asdict(self.infection)

    def _digest(self) -> str:
        spec = [self.dataset, self.arch, self.attack, self._all_settings(), dataclasses.asdict(self.recipe), self.seed]
        return hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode()).hexdigest()[:8]


@cache
def _made(attack: str, settings: str) -> Attack:
    """Most models of a suite share theirs with others, and looking up a plug-in takes milliseconds."""
    return attacks.make(attack, json.loads(settings))


@cache
def rated(attack: str) -> bool:
    """Whether a poisoning rate means anything to that attack. Raises UsageError where it is not installed."""
    return attacks.make(attack, {}).card.stage in (Stage.DATA, Stage.TRAINING)
