"""What a file says of itself: believed only where it can do no harm, and only in the ranges that make sense."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from modelscan_bd.inputs import Hints

_SILENT = Hints()
_LARGEST_SIDE = 4096  # pixels
_LONGEST_TEXT = 1_000_000  # characters
_MOST_CLASSES = 100_000


@final
@dataclass(frozen=True, kw_only=True)
class Said:
    """The architecture and the input that a file or folder claims."""

    arch: str | None = None
    hints: Hints = _SILENT

    def completed_by(self, other: Said) -> Said:
        mine = {f.name: getattr(self.hints, f.name) for f in dataclasses.fields(Hints)}
        hints = {name: getattr(other.hints, name) if value is None else value for name, value in mine.items()}
        return Said(arch=self.arch or other.arch, hints=Hints(**hints))


def from_safetensors(metadata: Mapping[str, str]) -> Said:
    """Our own keys, each as JSON: `bdscan.arch`, `bdscan.mean`, `bdscan.std`, `bdscan.size`, `bdscan.classes`."""
    read = {key: _json(metadata.get(f"bdscan.{key}")) for key in ("arch", "mean", "std", "size", "classes")}
    return Said(
        arch=_name(read["arch"]),
        hints=Hints(
            mean=_numbers(read["mean"]),
            std=_positive(read["std"]),
            size=_size(read["size"]),
            class_names=_names(read["classes"]),
        ),
    )


def from_config(config: Mapping[str, Any]) -> Said:
    """timm's config.json: `architecture`, and `pretrained_cfg` with mean, std and (channels, height, width)."""
    arch, cfg = _name(config.get("architecture")), config.get("pretrained_cfg")
    return Said(
        arch=f"timm:{arch}" if arch else None, hints=from_pretrained_cfg(cfg if isinstance(cfg, dict) else config)
    )


def from_pretrained_cfg(cfg: Mapping[str, Any]) -> Hints:
    shape = cfg.get("input_size")
    size = _size(shape[1:]) if isinstance(shape, (list, tuple)) and len(shape) == 3 else None
    return Hints(
        mean=_numbers(cfg.get("mean")),
        std=_positive(cfg.get("std")),
        size=size,
        class_names=_names(cfg.get("label_names")),
    )


def _json(text: str | None) -> object:
    try:
        return json.loads(text) if text is not None and len(text) < _LONGEST_TEXT else None
    except (ValueError, RecursionError):
        return None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) < 200 and value.isprintable() else None


def _names(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST_CLASSES:
        return None
    return tuple(map(str, value))


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= 16:
        return None
    fine = all(isinstance(n, (int, float)) and math.isfinite(n) and abs(n) < 1e4 for n in value)
    return tuple(map(float, value)) if fine else None


def _positive(value: object) -> tuple[float, ...] | None:
    numbers = _numbers(value)
    return numbers if numbers and min(numbers) > 1e-6 else None


def _size(value: object) -> tuple[int, int] | None:
    numbers = _numbers(value)
    if numbers is None or len(numbers) != 2 or not all(n.is_integer() and 1 <= n <= _LARGEST_SIDE for n in numbers):
        return None
    return int(numbers[0]), int(numbers[1])
