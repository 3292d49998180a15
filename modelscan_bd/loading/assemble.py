"""The last step: tensors or a network, and what the file says of them → a `Checkpoint`."""

from __future__ import annotations

import dataclasses

from torch import nn

from modelscan_bd.loading import claims
from modelscan_bd.loading.architectures import fit
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.metadata import Said, from_pretrained_cfg
from modelscan_bd.loading.module_tree import check_tree
from modelscan_bd.loading.registries import image_size
from modelscan_bd.loading.state_dict import Tensors
from modelscan_bd.types import Checkpoint, FileFormat, Hints

_USUAL = "{0} networks are usually trained on pixels normalised by ImageNet's mean and std; the file does not say."


def from_tensors(
    found: Tensors | nn.Module, *, file: Blob, form: FileFormat, arch: str | None, said: Said, notes: tuple[str, ...]
) -> Checkpoint:
    """A state dict with its architecture found. Raises what `architectures.fit` raises."""
    if isinstance(found, nn.Module):
        return from_module(found, file=file, arch=arch, notes=notes)
    fitted = fit(found, name=file.path.name, arch=arch, hinted=said.arch)
    library = fitted.architecture.partition(":")[0]
    usual = (_USUAL.format(library),) if library in ("timm", "torchvision") and said.hints.mean is None else ()
    return Checkpoint(
        path=str(file.path),
        sha256=file.sha256,
        format=form,
        architecture=fitted.architecture,
        net=fitted.net,
        classes=None,
        hints=_sized(said.hints, fitted.channels, fitted.size),
        notes=(*notes, *fitted.notes, *usual),
    )


def from_module(net: nn.Module, *, file: Blob, arch: str | None, notes: tuple[str, ...]) -> Checkpoint:
    """A whole pickled network, once its tree has been looked through. Raises UnsafeModel, UnsupportedModel."""
    check_tree(net, file.path.name)
    cfg = net.__dict__.get("pretrained_cfg")
    hints = from_pretrained_cfg(cfg) if isinstance(cfg, dict) else Hints()
    stem = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    ignored = ("--arch was not needed: the file holds the whole network.",) if arch else ()
    return Checkpoint(
        path=str(file.path),
        sha256=file.sha256,
        format=FileFormat.FULL_MODULE,
        architecture=f"{type(net).__module__}.{type(net).__qualname__}",
        net=net.eval().float().requires_grad_(False),
        classes=None,
        hints=_sized(hints, stem.in_channels if stem else None, image_size(net)),
        notes=(*notes, *ignored),
        sights=tuple(claims.sights(net, file.path.name)),
    )


def _sized(hints: Hints, channels: int | None, size: tuple[int, int] | None) -> Hints:
    return dataclasses.replace(hints, channels=hints.channels or channels, size=size or hints.size)
