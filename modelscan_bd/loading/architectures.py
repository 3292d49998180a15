"""From named tensors to the network that they are the weights of."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import final

import torch
from torch import nn

from modelscan_bd.errors import UnsupportedModel, UsageError
from modelscan_bd.loading import foreign, index
from modelscan_bd.loading.index import Shapes
from modelscan_bd.loading.registries import build, image_size
from modelscan_bd.loading.state_dict import Tensors, stripped

_MOST_CANDIDATES, _PATIENCE = 12, 20.0  # networks, seconds


@final
@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A network with its weights in place. `size` is set where the network takes no other."""

    architecture: str
    net: nn.Module
    channels: int
    size: tuple[int, int] | None
    notes: tuple[str, ...]


def fit(tensors: Tensors, *, name: str, arch: str | None, hinted: str | None) -> Fitted:
    """The network that has exactly these tensors.

    `arch` is the user's word and binds; `hinted` is the file's own and counts only if the tensors agree.
    Raises UsageError where several architectures fit, UnsupportedModel where none does.
    """
    variants = list(stripped(tensors))
    if arch is not None:
        return _named(variants, arch, name)
    said = _hinted(variants, hinted) if hinted else None
    found = said or next(filter(None, (_inferred(variant, name) for variant in variants)), None)
    if found is not None:
        return found
    foreign.refuse(name, chain.from_iterable(variants))
    raise _unknown(variants, name)


def _named(variants: list[Tensors], arch: str, name: str) -> Fitted:
    attempts = [
        (_differences(net, variant), net, variant) for variant in variants for net in [build(arch, shapes(variant))]
    ]
    differences, net, variant = min(attempts, key=lambda attempt: len(attempt[0]))
    if differences:
        raise UsageError(
            f"The weights in {name} are not those of {arch}: {'; '.join(differences[:4])}"
            + (f" and {len(differences) - 4} more" if len(differences) > 4 else ""),
            remedy=_advice(variant),
        )
    return _filled(arch, net, variant, ())


def _hinted(variants: list[Tensors], arch: str) -> Fitted | None:
    for variant in variants:
        try:
            net = build(arch, shapes(variant), believed=False)
        except UsageError:
            return None
        if not _differences(net, variant):
            return _filled(arch, net, variant, (f"The file says that it is {arch}, and its tensors agree.",))
    return None


def _inferred(tensors: Tensors, name: str) -> Fitted | None:
    fits: list[Fitted] = []
    began = time.monotonic()
    for arch, net in _candidates(tensors):
        if not _differences(net, tensors):
            fits.append(_filled(arch, net, tensors, ()))
        if time.monotonic() - began > _PATIENCE:
            break
    return _decided(fits, name) if fits else None


def _decided(fits: list[Fitted], name: str) -> Fitted:
    """The first of those that fit, if the others compute the same or are timm's variations on torchvision's."""
    first, *rest = fits
    others = [fit.architecture for fit in rest if not agree(first, fit)]
    if others and first.architecture.startswith("timm:"):
        raise UsageError(
            f"The weights in {name} fit several architectures that compute different things: "
            + ", ".join([first.architecture, *others]),
            remedy="Say which it is with --arch.",
        )
    if not others:
        return first
    note = f"The tensors would also fit {', '.join(others)}; {first.architecture} was taken. --arch decides otherwise."
    return dataclasses.replace(first, notes=(*first.notes, note))


def _candidates(tensors: Tensors) -> Iterator[tuple[str, nn.Module]]:
    from modelscan_bd.nets import FAMILIES

    sizes = shapes(tensors)
    for family in FAMILIES:
        if own := family.fitting(sizes):
            yield own
    for arch in index.candidates(sizes)[:_MOST_CANDIDATES]:
        yield arch, build(arch, sizes)


def shapes(tensors: Tensors) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _differences(net: nn.Module, tensors: Tensors) -> list[str]:
    """What separates the network's tensors from the file's, in words."""
    wanted, given = index.lasting(shapes(net.state_dict())), index.lasting(shapes(tensors))
    missing = [f"'{key}' is missing" for key in wanted if key not in given]
    extra = [f"'{key[:80]}' is not in the network" for key in given if key not in wanted]
    other = [
        f"'{key}' is {list(given[key])} and not {list(shape)}"
        for key, shape in wanted.items()
        if key in given and tuple(given[key]) != tuple(shape)
    ]
    return missing + other + extra


def _filled(arch: str, net: nn.Module, tensors: Tensors, notes: tuple[str, ...]) -> Fitted:
    own = net.state_dict()  # a dictionary with layer versions attached, which some layers ask for
    for key in own:
        own[key] = tensors.get(key, own[key])
    net.load_state_dict(own)
    stem = next((tensor for tensor in own.values() if tensor.dim() == 4), None)
    return Fitted(
        architecture=arch,
        net=net.eval().float(),
        channels=3 if stem is None else stem.shape[1],
        size=image_size(net),
        notes=notes,
    )


def agree(one: Fitted, other: Fitted) -> bool | None:
    """Whether two networks compute the same logits; some names stand for the same thing. None: one does not run."""
    if one.size != other.size:
        return False
    height, width = one.size or (64, 64)
    images = torch.rand(2, one.channels, height, width, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return torch.allclose(one.net(images), other.net(images), rtol=1e-2, atol=1e-3)
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None


def _advice(tensors: Tensors) -> str:
    found = index.candidates(shapes(tensors)) or index.nearest(shapes(tensors))
    return f"Closer would be {', '.join(found[:4])}." if found else "Check --arch."


def _unknown(variants: list[Tensors], name: str) -> UnsupportedModel:
    """No mistake of the user's: most networks are in no library, and their weights alone do not say what they are."""
    close = next(filter(None, (index.nearest(shapes(variant)) for variant in variants)), [])
    keys = [key[:60] for key in list(variants[-1])]
    shown = ", ".join(keys if len(keys) < 4 else [*keys[:2], "...", keys[-1]])
    return UnsupportedModel(
        f"The architecture of {name} is not known: its {len(keys)} tensors ({shown}) fit no network of bdscan, "
        "torchvision or timm",
        remedy=(f"The nearest are {', '.join(close)}. " if close else "")
        + "If it is one of theirs, say which with --arch; else export the network itself to ONNX.",
    )
