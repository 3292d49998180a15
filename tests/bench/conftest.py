"""Results as a store gives them, with scores drawn at random: models of known truth that nobody had to train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelscan_bd import rulebook
from modelscan_bd.bench.store import FILE, Cell, Setup, opened
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Tier, Traits

DATASETS, RECIPES, ATTACKS = ("signs", "digits"), ("plain", "flip", "brief"), ("badnets", "wanet", "semantic")

Results = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def book() -> Rulebook:
    """The rules that ship, of which two scores count; they know no model."""
    book = rulebook.load()
    strata = dataclasses.replace(book.verdict.strata, least=1)  # all models are of one
    verdict = dataclasses.replace(book.verdict, strata=strata)
    return dataclasses.replace(book, verdict=verdict, measured=book.measured[:2], known=())


@pytest.fixture(scope="session")
def draw(book: Rulebook) -> Results:
    """`draw(benign, infected, shift=3.0)`: infected models score higher by `shift` standard deviations."""

    def draw(benign: int, infected: int, *, shift: float = 3.0, seed: int = 0, tier: Tier = Tier.IMAGES) -> Any:
        rng = np.random.default_rng(seed)
        return [
            _result(book, rng, i, None if i < benign else ATTACKS[i % len(ATTACKS)], shift, tier)
            for i in range(benign + infected)
        ]

    return draw


@pytest.fixture(scope="session")
def fill() -> Callable[[Path, list[dict[str, Any]]], Path]:
    """Puts results into a store in a folder, which is made."""

    def fill(folder: Path, results: list[dict[str, Any]]) -> Path:
        folder.mkdir()
        with opened(folder / FILE) as store:
            for result in results:
                store.enter(result["model"], result["sha256"], result["truth"])
                for detector in result["scores"]:
                    store.add(_cell(result, detector))
        return folder

    return fill


def _cell(result: dict[str, Any], detector: str) -> Cell:
    facts = {key: result[key][detector] for key in ("scores", "top", "seconds", "status")}
    setup = Setup(tier=result["tier"], images=result["images"], seed=result["seed"])
    return Cell(
        model=result["model"], detector=detector, setup=setup, traits=result["traits"], tool="test",
        date="2026-01-01T00:00:00", **facts,
    )  # fmt: skip


def _result(
    book: Rulebook, rng: np.random.Generator, number: int, attack: str | None, shift: float, tier: Tier
) -> dict[str, Any]:
    scores: dict[str, dict[str, float]] = {}
    for rule in book.measured:
        scores.setdefault(rule.detector, {})[rule.score] = float(rng.normal(shift if attack else 0.0))
    return {
        "model": f"m{number:03}",
        "sha256": f"{number:064x}",
        "tier": tier,
        "images": 100,
        "seed": 0,
        "scores": scores,
        "top": {detector: dict.fromkeys(named, 4) for detector, named in scores.items()},
        "seconds": dict.fromkeys(scores, 2.0),
        "status": dict.fromkeys(scores, "ok"),
        "unmeasured": {},
        "truth": {
            "attack": attack,
            "outcome": "infected" if attack else "benign",
            "target_label": None if attack is None else 4 if attack == "badnets" else 7,
            "ba": 0.9,
            "asr": 0.97 if attack else None,
            "dataset": DATASETS[number % 2],
            "arch": "cnn-w16",
            "seed": number,
            "recipe": RECIPES[number % 3],
            "classes": 10,
            "poisoning_rate": 0.05 if attack else 0.0,
        },
        "traits": Traits(family="convolutional", classes=10, size=32),
    }
