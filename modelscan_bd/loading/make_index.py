"""Writes the table of architectures: `python -m modelscan_bd.loading.make_index [OUT.json]`; takes some minutes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from modelscan_bd.loading.index import TABLE, Entry, Shapes, fingerprint
from modelscan_bd.loading.registries import Unfilled
from modelscan_bd.torchvision_shim import prepare

_FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError, KeyError, AttributeError)


def main() -> None:
    prepare()
    import timm
    import torchvision

    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name(TABLE)
    rows = {e.arch: [e.tensors, e.names, e.body, list(e.loose)] for e in (*_torchvision(), *_timm())}
    lines = ",\n".join(f"{json.dumps(arch)}: {json.dumps(row, separators=(',', ':'))}" for arch, row in rows.items())
    made = json.dumps({"timm": timm.__version__, "torchvision": torchvision.__version__})
    out.write_text(f'{{"made_with": {made},\n"architectures": {{\n{lines}\n}}}}\n', encoding="utf-8")


def _torchvision() -> Iterator[Entry]:
    from torchvision import models

    for name in models.list_models(module=models):
        build: Callable[..., nn.Module] = models.get_model_builder(name)
        entry = _entry(f"torchvision:{name}", lambda build=build, **k: build(weights=None, **k), ({}, {}))
        if entry is not None:
            yield entry


def _timm() -> Iterator[Entry]:
    import timm

    for name in timm.list_models():
        channels = ({"in_chans": 3}, {"in_chans": 1})
        entry = _entry(f"timm:{name}", lambda name=name, **k: timm.create_model(name, pretrained=False, **k), channels)
        if entry is not None:
            yield entry


def _entry(arch: str, build: Callable[..., nn.Module], options: tuple[dict[str, int], ...]) -> Entry | None:
    """Builds the network twice; what changes in shape between the two is what classes and channels decide."""
    try:
        usual = _shapes(build, num_classes=1000, **options[0])
    except _FAILURES as error:
        print(f"{arch}: left out, {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
        return None
    try:
        other = _shapes(build, num_classes=7, **options[1])
    except _FAILURES:
        other = _shapes(build, num_classes=7)
    if set(usual) != set(other):
        print(f"{arch}: left out, its tensors' names depend on the number of classes", file=sys.stderr)
        return None
    changed = [key for key in usual if usual[key] != other[key]]
    return fingerprint(arch, usual, [*changed, *_stem(usual)])


def _stem(shapes: Shapes) -> list[str]:
    """The first convolution that reads three channels: torchvision's networks cannot be built with another number."""
    return [key for key, shape in shapes.items() if len(shape) == 4 and shape[1] == 3][:1]


def _shapes(build: Callable[..., nn.Module], **options: int) -> Shapes:
    try:
        with torch.device("meta"):
            net = build(**options)
    except NotImplementedError:  # it looks at its own weights while it is being built
        with Unfilled():
            net = build(**options)
    return {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}


if __name__ == "__main__":
    main()
