"""All networks by name, ours, timm's and torchvision's."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from torch import nn

from modelscan_bd import torchvision_shim
from modelscan_bd.errors import UsageError
from modelscan_bd.nets import convnets, resnet, vit
from modelscan_bd.nets.family import Family, Plan

FAMILIES: tuple[Family, ...] = (
    Family(
        name="cnn",
        make=convnets.cnn,
        depths=(3, 2, 4),
        widths=(16, 32),
        stem="features.0.weight",
        head="classifier.weight",
        common_depth=3,
    ),
    Family(
        name="vgg",
        make=convnets.vgg,
        depths=convnets.VGG_DEPTHS,
        widths=(8, 16, 64),
        stem="features.0.weight",
        head="classifier.weight",
    ),
    Family(
        name="mobilenet",
        make=convnets.mobilenet,
        depths=(6, 4),
        widths=(8, 16),
        stem="features.0.0.weight",
        head="classifier.weight",
        common_depth=6,
    ),
    Family(
        name="resnet",
        make=resnet.resnet,
        depths=resnet.DEPTHS,
        widths=(8, 16, 64),
        stem="conv1.weight",
        head="linear.weight",
    ),
    Family(
        name="preact",
        make=resnet.preact,
        depths=resnet.DEPTHS,
        widths=(8, 16, 64),
        stem="conv1.weight",
        head="linear.weight",
    ),
    Family(
        name="vit",
        make=vit.Vit,
        depths=(4, 2, 6),
        widths=(32, 64),
        stem="patch.weight",
        head="head.weight",
        common_depth=4,
        size_of=vit.size_of,
    ),
)


def names() -> tuple[str, ...]:
    """A representative list; other widths (`-w24`) build as well."""
    return tuple(label for family in FAMILIES for label in family.labels())


def build(name: str, *, classes: int, channels: int = 3, size: int = 32) -> nn.Module:
    """The network of that name with random weights; `timm:NAME` and `torchvision:NAME` go to those libraries.

    Raises UsageError, with the nearest names, where there is no such network.
    """
    library, _, theirs = name.rpartition(":")
    if library == "timm":
        return _from_timm(theirs, classes, channels)
    if library == "torchvision":
        return _from_torchvision(theirs, classes, channels)
    for family in FAMILIES:
        measures = family.measures(name)
        if measures:
            depth, width = measures
            return family.make(Plan(depth=depth, width=width, classes=classes, channels=channels, size=size))
    raise _unknown(name, names())


def _from_timm(name: str, classes: int, channels: int) -> nn.Module:
    torchvision_shim.prepare()
    import timm

    if not timm.is_model(name):
        raise _unknown(f"timm:{name}", (f"timm:{known}" for known in timm.list_models()))
    net: nn.Module = timm.create_model(name, num_classes=classes, in_chans=channels)
    return net


def _from_torchvision(name: str, classes: int, channels: int) -> nn.Module:
    torchvision_shim.prepare()
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(f"torchvision:{name}", (f"torchvision:{other}" for other in known))
    if channels != 3:
        raise UsageError(
            f"torchvision:{name} takes colour images, not {channels} channel(s)", remedy="Use a network of timm."
        )
    net: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return net


def _unknown(name: str, known: Iterable[str]) -> UsageError:
    nearest = difflib.get_close_matches(name, list(known), n=5, cutoff=0.3)
    return UsageError(
        f"there is no network called {name!r}", remedy=f"The nearest names are: {', '.join(nearest) or 'none'}."
    )
