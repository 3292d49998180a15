"""The graph audit as a whole: backdoors in structure and weights are found and woken, look-alikes are not."""

from __future__ import annotations

from functools import cache

import onnx
import pytest
import torch
from graph.backdoors import VARIANTS
from graph.export import to_onnx
from graph.lookalikes import LOOKALIKES
from graph.onnx_edits import EDITS
from graph.pictures import backbone, clean
from graph.weights_only import WEIGHT_VARIANTS
from torch import Tensor, nn

from modelscan_bd import rulebook
from modelscan_bd.classifier import first_tensor
from modelscan_bd.graph.examine import Seen, examine
from modelscan_bd.graph.from_onnx import graph_of
from modelscan_bd.graph.patterns import patterns
from modelscan_bd.graph_findings import graph_findings
from modelscan_bd.onnx_engine import convert
from modelscan_bd.results import Finding
from modelscan_bd.types import Severity, Silent

CLASSES, SHAPE = 10, (3, 32, 32)
GRAVE = {Severity.MEDIUM, Severity.HIGH}
WOKEN = "BD810"
ALL = [pytest.param(name, marks=() if n % 4 == 0 else pytest.mark.slow) for n, name in enumerate(VARIANTS)]
# read alone these resemble honest networks; they are found when they are run
QUIET = {name for name in VARIANTS if "exchanged image" in name or "first map" in name}
# honest, yet asked of the pixels as a trigger would be: see the note of each
SUSPECTED = {
    "bytes taken for bytes",  # whether pixels are bytes is asked of their maximum
    "padding mask from the image",  # tokens are left out where the picture is empty
}
PICTURES = [name for name, one in LOOKALIKES.items() if one.example(1).is_floating_point()]  # not bytes


@cache
def honest(name: str = "vgg6-w8") -> nn.Module:
    return backbone(name).requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return clean(32, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def exported(images: Tensor) -> onnx.ModelProto:
    return to_onnx(honest(), images[:2])


def rarest(images: Tensor) -> int:
    return int(honest()(images).argmax(1).bincount(minlength=CLASSES).argmin())


def looked(net: nn.Module, images: Tensor) -> Seen:
    return examine(net.requires_grad_(False), images, torch.Generator().manual_seed(0), Silent())


def grave(seen: Seen) -> dict[str, Finding]:
    return {one.rule: one for one in graph_findings(seen.sights, rulebook.load()) if one.severity in GRAVE}


def read(model: onnx.ModelProto) -> set[str]:
    return {one.rule for one in graph_findings(patterns(graph_of(model)), rulebook.load()) if one.severity in GRAVE}


@pytest.mark.parametrize("name", ALL)
def test_backdoors_of_structure_are_woken(name: str, images: Tensor) -> None:
    target = rarest(images)
    found = grave(looked(VARIANTS[name].build(honest(), CLASSES, SHAPE, target), images))
    assert found[WOKEN].target_label == target


@pytest.mark.parametrize("name", ALL)
def test_backdoors_of_structure_are_read_off_the_file(name: str, images: Tensor) -> None:
    net = VARIANTS[name].build(honest(), CLASSES, SHAPE, rarest(images))
    model = to_onnx(net, images[:2], dynamo=VARIANTS[name].merge.__name__ == "Condition")
    assert bool(read(model)) == (name not in QUIET)


@pytest.mark.parametrize("name", EDITS)
def test_edits_of_the_file_are_found(name: str, exported: onnx.ModelProto, images: Tensor) -> None:
    target = rarest(images)
    model = EDITS[name].apply(exported, CLASSES, SHAPE, target)
    assert read(model)
    made = convert(model)
    if made.differentiable:
        assert grave(looked(made.module, images))[WOKEN].target_label == target
    else:
        assert name == "hash of the bytes"  # torch does not add 64-bit numbers without a sign


@pytest.mark.parametrize("name", WEIGHT_VARIANTS)
def test_networks_within_the_network_are_woken(name: str, images: Tensor) -> None:
    target = rarest(images)
    found = grave(looked(WEIGHT_VARIANTS[name].build(honest(), CLASSES, SHAPE, target), images))
    assert "BD807" in found
    assert found[WOKEN].target_label == target


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if i % 5 == 0 else pytest.mark.slow) for i, n in enumerate(PICTURES)]
)
def test_look_alikes_do_not_alarm(name: str) -> None:
    assert bool(grave(looked(_Scores(LOOKALIKES[name].build()), LOOKALIKES[name].example(16)))) == (name in SUSPECTED)


@pytest.mark.parametrize("name", ["vgg6-w8", "resnet8-w8", "vit2-w32"])
def test_honest_networks_are_left_alone(name: str, images: Tensor) -> None:
    assert not grave(looked(honest(name), images))
    assert not read(to_onnx(honest(name), images[:2]))


def test_the_trigger_is_cut_to_what_matters(images: Tensor) -> None:
    variant, target = VARIANTS["pixels, where"], rarest(images)
    waking = looked(variant.build(honest(), CLASSES, SHAPE, target), images).waking
    assert waking is not None
    assert waking.area < 0.02
    assert waking.shown > 0.8


class _Scores(nn.Module):
    """The logits among what a network gives."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return first_tensor(self.net(x))
