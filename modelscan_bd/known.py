"""Models whose truth is known, and what was measured of them: the table that a verdict compares a model with.

The table is a CSV file of the rules. A row is a model under one tier; empty cells were not measured, or came from a
detector that had learnt from that very model.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, final

from modelscan_bd.errors import UsageError
from modelscan_bd.inputs import Tier
from modelscan_bd.rule import Strata, Traits

FILE = "known_models.csv"
_DOT = "."  # in a column's name: detector.score
_NONE = ""


@final
@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """`kind` groups attacks by what their triggers look like; attack and kind are empty for benign models."""

    name: str
    tier: Tier
    infected: bool
    attack: str = _NONE
    kind: str = _NONE
    dataset: str
    arch: str
    recipe: str
    traits: Traits
    scores: Mapping[str, float] = field(default_factory=dict)  # by "detector.score"


WIDENING = (("family", "size", "classes"), ("size", "classes"), ("classes",), ())  # from the nearest stratum outwards


@final
@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a model is compared with: models of its stratum and tier that have all of its scores."""

    title: str
    benign: tuple[KnownModel, ...]
    infected: tuple[KnownModel, ...]


def pool(known: Iterable[KnownModel], traits: Traits, tier: Tier, scores: Set[str], strata: Strata) -> Pool:
    """The nearest stratum with models enough; failing that all models of the tier."""
    alike = [model for model in known if model.tier is tier and scores <= model.scores.keys()]
    for among in WIDENING:
        here = _cell(traits, among, strata)
        members = [model for model in alike if _cell(model.traits, among, strata) == here]
        benign = tuple(model for model in members if not model.infected)
        if len(benign) >= strata.least or not among:
            break
    return Pool(title=_title(traits, among, strata), benign=benign, infected=tuple(m for m in members if m.infected))


def _cell(traits: Traits, among: Sequence[str], strata: Strata) -> tuple[object, ...]:
    """Where a model belongs, by the traits that count."""
    bins = {"family": traits.family, "size": _bin(traits.size, strata.size)}
    return tuple((bins | {"classes": _bin(traits.classes, strata.classes)})[name] for name in among)


def _title(traits: Traits, among: Sequence[str], strata: Strata) -> str:
    words = {
        "family": f"{traits.family} networks",
        "size": f"{_range(traits.size, strata.size)} pixels",
        "classes": f"{_range(traits.classes, strata.classes)} classes",
    }
    return ", ".join(words[name] for name in among) or "all networks"


def _bin(value: int, limits: Sequence[int]) -> int:
    return sum(value > limit for limit in limits)


def _range(value: int, limits: Sequence[int]) -> str:
    index = _bin(value, limits)
    if index == len(limits):
        return f"more than {limits[-1]}" if limits else "any number of"
    return f"at most {limits[index]}" if index == 0 else f"{limits[index - 1] + 1} to {limits[index]}"


# ---------------------------------------------------------------- the table


def parse(text: str, *, origin: str) -> tuple[KnownModel, ...]:
    """Raises UsageError, beginning with `origin`, for what is no such table."""
    try:
        return tuple(_model(row) for row in csv.DictReader(io.StringIO(text), strict=True))
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{origin}: this is no table of known models ({error})", remedy="Make it with bdscan benchmark calibrate."
        ) from error


def render(known: Sequence[KnownModel]) -> str:
    """The table as text, columns in the order of their names."""
    columns = sorted({name for model in known for name in model.scores})
    out = io.StringIO()
    writer = csv.DictWriter(out, [*_facts(known[0]), *columns] if known else [], restval=_NONE, lineterminator="\n")
    writer.writeheader()
    for model in known:
        writer.writerow(_facts(model) | {name: f"{value:.5g}" for name, value in model.scores.items()})
    return out.getvalue()


def _facts(model: KnownModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "tier": model.tier.value,
        "outcome": "infected" if model.infected else "benign",
        "attack": model.attack,
        "kind": model.kind,
        "dataset": model.dataset,
        "arch": model.arch,
        "recipe": model.recipe,
        "family": model.traits.family,
        "classes": model.traits.classes,
        "size": model.traits.size,
    }


def _model(row: Mapping[str, str]) -> KnownModel:
    scores = {name: float(value) for name, value in row.items() if _DOT in name and value}
    if not all(map(math.isfinite, scores.values())):
        raise ValueError(f"a score of '{row['model']}' is not a finite number")
    if row["outcome"] not in ("benign", "infected"):
        raise ValueError(f"the outcome of '{row['model']}' is '{row['outcome']}', not benign or infected")
    return KnownModel(
        name=row["model"],
        tier=Tier(row["tier"]),
        infected=row["outcome"] == "infected",
        attack=row["attack"],
        kind=row["kind"],
        dataset=row["dataset"],
        arch=row["arch"],
        recipe=row["recipe"],
        traits=Traits(family=row["family"], classes=int(row["classes"]), size=int(row["size"])),
        scores=scores,
    )
