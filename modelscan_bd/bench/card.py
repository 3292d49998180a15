"""What a trained model is, as a small JSON file beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = "bdscan-card/1"


@dataclass(frozen=True, kw_only=True)
class TrainedCard:
    """The truth about a model. BA and ASR are shares of test images, 0..1; ASR is of stamped ones of other classes."""

    name: str
    attack: str | None  # None: benign
    attack_settings: Mapping[str, object]  # the trigger among them
    target_label: int | None
    poisoning_rate: float  # share of the training images that were in fact stamped
    poisoned: int  # training images
    ba: float
    asr: float | None
    dataset: str
    class_names: tuple[str, ...]
    input: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # of pixels in [0, 1]; the network takes (pixels - mean) / std
    std: tuple[float, ...]
    arch: str
    parameters: int
    recipe: Mapping[str, object]
    seed: int
    n_train: int
    n_test: int
    n_asr: int  # stamped test images
    seconds: float  # of training alone
    images_per_second: float
    device: str
    torch: str
    schema: str = SCHEMA

    def write(self, file: Path) -> None:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        part.replace(file)

    @classmethod
    def read(cls, file: Path) -> TrainedCard:
        """Raises ValueError where the file is no card of this schema."""
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if found.get("schema") != SCHEMA or set(found) != {field.name for field in dataclasses.fields(cls)}:
            raise ValueError(f"{file} is not a card of schema {SCHEMA}")
        lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
        return cls(**{**found, **lists})
