"""Clean images that no model of a zoo was trained on, as a user would hand them to a scan."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image

from modelscan_bd.bench.datasets import Dataset
from modelscan_bd.pixels import Split
from modelscan_bd.shared import generator


def write(data: Dataset, folder: Path, *, count: int, seed: int) -> Path:
    """So many test images as PNGs in folders named by class number, one of each class after another.

    A folder that is there already is left as it is.
    """
    if folder.is_dir():
        return folder
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for row in chosen(data.test, count, generator(seed, f"held-out images of {data.name}")):
        home = part / f"{int(data.test.labels[row]):04d}"
        home.mkdir(parents=True, exist_ok=True)
        pixels = data.test.images[row].permute(1, 2, 0).numpy()
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(home / f"{row:06d}.png")
    part.rename(folder)
    return folder


def chosen(split: Split, count: int, rng: torch.Generator) -> list[int]:
    """Rows of the images: at random, as many of each class as there are."""
    order = torch.randperm(len(split), generator=rng)
    labels = split.labels[order]
    turn = torch.zeros_like(labels)  # how many of its class come before an image
    for label in labels.unique():
        own = labels == label
        turn[own] = torch.arange(int(own.sum()))
    found: list[int] = order[turn.argsort(stable=True)][:count].tolist()
    return found
