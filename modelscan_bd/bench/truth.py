"""What is known of a model in a folder: read from its card, and never shown to a detector."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from modelscan_bd.bench.card import FILE
from modelscan_bd.bench.store import TRUTH
from modelscan_bd.bench.zoo.folder import SPEC
from modelscan_bd.errors import UsageError


@final
@dataclass(frozen=True, kw_only=True)
class Known:
    """A model's file, and the truth about it as a store keeps it."""

    file: Path
    sha256: str
    truth: dict[str, Any]


def known(folder: Path) -> Known:
    """Raises UsageError where the card is broken or says too little, or the model is missing."""
    card = _read(folder / FILE)
    if missing := {*TRUTH, "file"} - set(card):
        raise UsageError(f"the card of '{folder}' says nothing of {min(missing)!r}", remedy="Train the model again.")
    file = folder / str(card["file"])
    try:
        with file.open("rb") as bytes_:
            sha256 = hashlib.file_digest(bytes_, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise UsageError(f"the model '{file}' cannot be read: {error}", remedy="Train it again.") from error
    more = {
        "recipe": _recipe(folder, card),
        "classes": len(names) if isinstance(names := card.get("class_names"), list) else None,
        "input": card.get("input"),  # channels, height, width
        "poisoning_rate": card.get("poisoning_rate"),
    }
    return Known(file=file, sha256=sha256, truth={key: card[key] for key in TRUTH} | more)


def _recipe(folder: Path, card: dict[str, Any]) -> str | None:
    """The name that the suite has for it; of a model that was made alone, how its images were augmented."""
    if (folder / SPEC).is_file():
        return _read(folder / SPEC).get("recipe_name")
    recipe = card.get("recipe")
    return recipe.get("augmentation") if isinstance(recipe, dict) else None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"'{file}' cannot be read: {error}", remedy="Train the model again.") from error
    if not isinstance(found, dict):
        raise UsageError(f"'{file}' describes no model", remedy="Train the model again.")
    return found
