"""From a checkpoint to what detectors see: a classifier of images in [0, 1], and images to look through."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from torch import Generator

from modelscan_bd import data as image_data
from modelscan_bd import geometry
from modelscan_bd.classifier import Classifier
from modelscan_bd.geometry import Geometry
from modelscan_bd.preprocessing import settle
from modelscan_bd.probes import procedural
from modelscan_bd.types import Checkpoint, Hints, Probes, ProbeSource, Subject

_IMAGES = 128


def build(checkpoint: Checkpoint, *, flags: Hints, data: Path | None, rng: Generator, images: int = _IMAGES) -> Subject:
    """Finds the input's shape, the classes and the preprocessing, and collects `images` probe images.

    `flags` outrank what the file says of itself; what both leave open is inferred. `data` is a folder of clean
    images; without it they are procedural. Raises UsageError for flags or a folder that do not fit the model, and
    UnsupportedModel where the network is no classifier.
    """
    folder = image_data.survey(data) if data else None
    hints = _merged(flags, checkpoint.hints)
    outside = geometry.survey(
        checkpoint.net, hints, natural=image_data.natural_size(folder) if folder else None, rng=rng
    )
    probes = _probes(folder, outside, hints, images, rng)
    preprocessing = settle(checkpoint.net, outside, flags=flags, metadata=checkpoint.hints, probes=probes, rng=rng)
    classifier = Classifier(
        net=checkpoint.net,
        preprocessing=preprocessing,
        classes=outside.classes,
        shape=outside.shape,
        output=outside.output,
        differentiable=checkpoint.differentiable,
    )
    return Subject(classifier=classifier, probes=probes)


def _merged(flags: Hints, metadata: Hints) -> Hints:
    """The file's hints, overruled one by one by the flags that were given."""
    given = {f.name: getattr(flags, f.name) for f in fields(Hints) if getattr(flags, f.name) is not None}
    return replace(metadata, **given)


def _probes(
    folder: image_data.ImageFolder | None, outside: Geometry, hints: Hints, images: int, rng: Generator
) -> Probes:
    if folder is None:
        drawn = procedural(outside.shape, images, rng=rng)
        return Probes(images=drawn, labels=None, source=ProbeSource.PROCEDURAL)
    return image_data.load(
        folder, shape=outside.shape, classes=outside.classes, class_names=hints.class_names, images=images, rng=rng
    )
