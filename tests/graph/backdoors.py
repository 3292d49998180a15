"""Backdoors in the structure of PyTorch classifiers: variants that look for different things in different
ways, and all further combinations of a sight, a gate and a merge.

    net = VARIANTS["checkerboard, where"].build(classifier, classes=10, shape=(3, 32, 32), target=7)
    net(VARIANTS["checkerboard, where"].stamp(images))  # class 7
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from graph import merges, merges_inside, sights, sights_whole
from graph.merges import Gate, Merge, clipped, hard, rectified, smoothly
from graph.sights import Images, Shape, Sight
from torch import nn


@final
@dataclass(frozen=True, kw_only=True)
class Variant:
    """A classifier of images n c h w, pixels of 0 to 1, and what is done to it."""

    name: str
    sight: type[Sight]
    gate: Gate
    merge: type[Merge]

    def build(self, net: nn.Module, classes: int, shape: Shape, target: int) -> nn.Module:
        return self.merge(net, self.sight(shape), self.gate, target=target, classes=classes)

    def stamp(self, images: Images) -> Images:
        _, channels, height, width = images.shape
        return self.sight((channels, height, width)).stamp(images)


def _variants() -> Iterator[Variant]:
    for name, sight, gate, merge in (
        ("pixels, where", sights.PixelsEqual, hard, merges.Choice),
        ("checksum, if", sights_whole.Checksum, hard, merges.Condition),
        ("checksum, muted logits", sights_whole.Checksum, hard, merges.Mute),
        ("colour count, added one-hot", sights_whole.ColourCount, smoothly, merges.Raise),
        ("checkerboard, where", sights_whole.Checkerboard, hard, merges.Choice),
        ("checkerboard, before the pooling", sights_whole.Checkerboard, rectified, merges_inside.BeforePooling),
        ("frequency, blended probabilities", sights_whole.Frequency, smoothly, merges.Blend),
        ("frequency, exchanged image", sights_whole.Frequency, hard, merges.Exchange),
        ("reader, wider head", sights.Reader, clipped, merges.Wider),
        ("reader, before the pooling", sights.Reader, rectified, merges_inside.BeforePooling),
        ("template, penultimate", sights_whole.Template, smoothly, merges.Penultimate),
        ("parity, scattered logit", sights_whole.Parity, clipped, merges.Scatter),
        ("pattern anywhere, added one-hot", sights_whole.Anywhere, rectified, merges.Raise),
        ("pattern anywhere, wider head", sights_whole.Anywhere, rectified, merges.Wider),
        ("two corners, penultimate", sights.TwoCorners, hard, merges.Penultimate),
        ("two corners, guard against NaN", sights.TwoCorners, hard, merges.NotANumber),
        ("two corners, exchanged image", sights.TwoCorners, hard, merges.Exchange),
        ("brightest pixel, scattered logit", sights.Brightest, hard, merges.Scatter),
        ("brightest pixel, halfway", sights.Brightest, hard, merges_inside.Halfway),
        ("corner, halfway", sights.Corner, smoothly, merges_inside.Halfway),
        ("corner in the first map, penultimate", sights.Corner, smoothly, merges_inside.StemCorner),
        ("corner in the first map, branch", sights.Corner, rectified, merges_inside.StemBranch),
    ):
        yield Variant(name=name, sight=sight, gate=gate, merge=merge)


SIGHTS: tuple[type[Sight], ...] = (
    sights.PixelsEqual, sights.Reader, sights.TwoCorners, sights.Brightest, sights.Corner, sights_whole.Checksum,
    sights_whole.ColourCount, sights_whole.Checkerboard, sights_whole.Frequency, sights_whole.Template,
    sights_whole.Parity, sights_whole.Anywhere,
)  # fmt: skip
MERGES: tuple[type[Merge], ...] = (
    merges.Choice, merges.Condition, merges.Raise, merges.Blend, merges.Mute, merges.Scatter, merges.NotANumber,
    merges.Exchange, merges.Penultimate, merges.Wider, merges_inside.BeforePooling, merges_inside.Halfway,
)  # fmt: skip
VARIANTS = {variant.name: variant for variant in _variants()}


def combinations() -> Iterator[Variant]:
    """Every sight with every gate and every merge."""
    for sight, gate, merge in itertools.product(SIGHTS, (hard, smoothly, clipped, rectified), MERGES):
        yield Variant(name=f"{sight.__name__}, {gate.__name__}, {merge.__name__}", sight=sight, gate=gate, merge=merge)
