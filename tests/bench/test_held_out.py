"""Clean images for scans: of the test half, evenly over the classes, and readable as what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modelscan_bd import data
from modelscan_bd.bench.datasets import Dataset, small_signs
from modelscan_bd.bench.held_out import write
from modelscan_bd.pixels import Split


@pytest.fixture(scope="module")
def signs() -> Dataset:
    return small_signs(24, 300)


def test_they_are_test_images_and_labelled_as_those_are(signs: Dataset, tmp_path: Path) -> None:
    write(signs, tmp_path / "signs", count=50, seed=0)
    files = sorted(tmp_path.rglob("*.png"))
    assert len(files) == 50
    for file in files:
        row = int(file.stem)
        assert int(file.parent.name) == signs.test.labels[row]
        assert np.array_equal(np.asarray(Image.open(file)), signs.test.images[row].permute(1, 2, 0).numpy())


def test_classes_are_as_even_as_can_be(signs: Dataset, tmp_path: Path) -> None:
    write(signs, tmp_path / "signs", count=50, seed=0)
    counts = [len(list(folder.iterdir())) for folder in (tmp_path / "signs").iterdir()]
    assert len(counts) == 12
    assert max(counts) - min(counts) <= 1


def test_another_seed_chooses_others_and_what_is_there_stays(signs: Dataset, tmp_path: Path) -> None:
    names = [
        {file.name for file in write(signs, tmp_path / where, count=50, seed=seed).rglob("*.png")}
        for where, seed in (("a", 0), ("b", 0), ("c", 1), ("a", 1))
    ]
    assert names[0] == names[1] == names[3] != names[2]


def test_a_scan_reads_them_grey_ones_too(signs: Dataset, tmp_path: Path) -> None:
    grey = Split(images=signs.test.images[:, :1], labels=signs.test.labels)
    folder = data.survey(write(replace(signs, test=grey), tmp_path / "grey", count=60, seed=0))
    rng = torch.Generator().manual_seed(0)
    probes = data.load(folder, shape=(1, 32, 32), classes=12, class_names=None, images=60, rng=rng)
    assert probes.labels is not None
    assert sorted(probes.labels.unique().tolist()) == list(range(12))
