"""Recovered triggers as files: `.npy` to compute with, PNG to look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from modelscan_bd.results import Evidence, Outcome, Picture

_SMALLEST_SIDE = 128  # pixels; below it a trigger of three pixels cannot be seen
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def folder_beside(report: Path) -> Path:
    """Where the pictures of the report `out.json` go: `out.artefacts`, next to it."""
    return report.with_name(f"{report.stem}.artefacts")


def save(outcomes: Sequence[Outcome], folder: Path) -> dict[str, tuple[Path, ...]]:
    """Writes every artefact; returns the files by detector. Makes the folder only if there is something to put in."""
    return {
        outcome.detector: tuple(
            file
            for name, image in outcome.artefacts.items()
            for file in _save(image, folder, f"{outcome.detector}.{name}")
        )
        for outcome in outcomes
        if isinstance(outcome, Evidence) and outcome.artefacts
    }


def picture(image: Picture) -> UInt8[np.ndarray, "rows columns rgb"]:
    """Pixels to look at. A signed image is shown around grey and scaled to its own extremes; others are in [0, 1]."""
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.shape[0] != 3:
        pixels = pixels.mean(axis=0, keepdims=True).repeat(3, axis=0)
    if pixels.min() < 0:
        pixels = 0.5 + 0.5 * pixels / np.abs(pixels).max()
    factor = max(1, -(-_SMALLEST_SIDE // min(pixels.shape[1:])))
    large = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.round(large.clip(0.0, 1.0) * 255).astype(np.uint8).transpose(1, 2, 0)


def _save(image: Picture, folder: Path, name: str) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    stem = ".".join(_UNSAFE.sub("_", part) for part in name.split("."))
    png, npy = folder / f"{stem}.png", folder / f"{stem}.npy"
    Image.fromarray(picture(image)).save(png)
    np.save(npy, np.asarray(image))
    return png, npy
