"""How often the graph audit is right: the README's figures that no quick test repeats.

    python tests/graph_alarms.py read FOLDER...     # files that graph_sweep.py has stored; nothing is run
    python tests/graph_alarms.py run FOLDER         # the same architectures with random weights, traced and tried
    python tests/graph_alarms.py variants NETWORK   # the backdoors of tests/graph on vgg6-w8, resnet8-w8 or vit2-w32

`run` takes seconds an architecture, now and then a minute, and skips those over --parameters. Nothing here is a test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import onnx
import torch
import torch.nn.functional as F
from graph.backdoors import VARIANTS
from graph.pictures import backbone, clean
from graph_sweep import build, known, sides
from torch import Tensor, nn

from modelscan_bd import rulebook
from modelscan_bd.classifier import first_tensor
from modelscan_bd.graph.examine import examine
from modelscan_bd.graph.from_onnx import graph_of
from modelscan_bd.graph.patterns import patterns
from modelscan_bd.graph_findings import graph_findings
from modelscan_bd.results import Finding
from modelscan_bd.torchvision_shim import prepare
from modelscan_bd.types import Silent

MEAN, STD = 0.45, 0.25  # of pixels, roughly as these architectures are trained


class Pixels(nn.Module):
    """Takes pixels of 0 to 1, gives logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return first_tensor(self.net((x - MEAN) / STD))


def say(name: str, found: list[Finding]) -> None:
    told = [f"{one.rule} {one.severity.value}" + f" class {one.target_label}" * (one.target_label is not None)
            for one in found]  # fmt: skip
    click.echo(f"{name}: {', '.join(told) or 'nothing'}")


@click.group()
def main() -> None:
    """False alarms and finds of the graph audit."""


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def read(folders: tuple[Path, ...]) -> None:
    """Findings on stored graphs."""
    book = rulebook.load()
    for file in (file for folder in folders for file in sorted(folder.glob("*.onnx"))):
        model = onnx.load(file, load_external_data=False)
        say(file.stem, list(graph_findings(patterns(graph_of(model)), book)))


@main.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--parameters", type=float, default=40e6, show_default=True)
def run(folder: Path, parameters: float) -> None:
    """Findings on the architectures whose graphs are stored."""
    prepare()
    stored = {file.stem for file in folder.glob("*.onnx")}
    for one in sorted(known(folder), key=lambda one: one.parameters):
        if f"{one.source}.{one.name}" in stored and one.parameters <= parameters:
            torch.manual_seed(0)
            net = Pixels(build(one.source, one.name))
            say(f"{one.source}.{one.name}", findings(net, next(_images(net, sides(one)))))


def _images(net: nn.Module, sizes: list[int]) -> Iterator[Tensor]:
    """Smooth ones, of the first size that the network takes."""
    small = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for side in sizes:
        images = F.interpolate(small, size=(side, side), mode="bilinear")
        try:
            net(images[:2])
        except (RuntimeError, AssertionError, ValueError):
            continue
        yield images


def findings(net: nn.Module, images: Tensor) -> list[Finding]:
    seen = examine(net.eval().requires_grad_(False), images, torch.Generator().manual_seed(0), Silent())
    return list(graph_findings(seen.sights, rulebook.load()))


@main.command()
@click.argument("network")
def variants(network: str) -> None:
    """Findings on every variant beside one network."""
    net, images = backbone(network), clean(32, torch.Generator().manual_seed(1))
    target = int(net(images).argmax(1).bincount(minlength=10).argmin())
    for name, variant in VARIANTS.items():
        say(name, findings(variant.build(net, 10, (3, 32, 32), target), images))


if __name__ == "__main__":
    sys.exit(main())
