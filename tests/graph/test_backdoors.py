"""The variants do what they say: stamped images go to the target, all others where they went before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import onnx
import pytest
import torch
from graph.backdoors import VARIANTS, combinations
from graph.export import answers, to_onnx
from graph.onnx_edits import EDITS
from graph.pictures import backbone, clean
from graph.weights_only import WEIGHT_VARIANTS
from torch import Tensor, nn

CLASSES, SHAPE = 10, (3, 32, 32)
NET = "vgg6-w4"
OTHERS = ("vit2-w32", "resnet8-w8", "preact10-w8", "mobilenet4-w16")
ENOUGH = 0.95  # of the images
BRANCHING = [name for name, variant in VARIANTS.items() if variant.merge.__name__ == "Condition"]
PLAIN = [name for name in VARIANTS if name not in BRANCHING]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return clean(40, torch.Generator().manual_seed(1))


@cache
def honest(name: str = NET) -> nn.Module:
    return backbone(name)


def rarest(net: nn.Module, images: Tensor) -> int:
    """The class that fewest of the images are taken for."""
    return int(net(images).argmax(1).bincount(minlength=CLASSES).argmin())


def share(answers: Tensor, wanted: Tensor | int) -> float:
    return (answers.argmax(1) == wanted).float().mean().item()


@pytest.mark.parametrize("arch", [NET, *(pytest.param(a, marks=pytest.mark.slow) for a in OTHERS)])
@pytest.mark.parametrize("name", PLAIN)
def test_stamped_images_alone_go_to_the_target(name: str, arch: str, images: Tensor) -> None:
    net, variant = honest(arch), VARIANTS[name]
    target = rarest(net, images)
    bad, stamped = variant.build(net, CLASSES, SHAPE, target), variant.stamp(images)
    assert share(bad(images), net(images).argmax(1)) >= ENOUGH
    assert share(bad(stamped), target) >= ENOUGH
    assert share(net(stamped), target) < 0.5  # it is not the stamp that misleads
    assert stamped.shape == images.shape
    assert stamped.min() >= 0
    assert stamped.max() <= 1


@pytest.mark.parametrize("name", PLAIN)
def test_variants_keep_their_trigger_in_onnx(name: str, images: Tensor) -> None:
    _same_in_onnx(name, images, dynamo=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", BRANCHING)
def test_branches_need_the_newer_exporter(name: str, images: Tensor) -> None:
    model = _same_in_onnx(name, images, dynamo=True)
    assert "If" in {node.op_type for node in model.graph.node}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_keep_their_trigger_in_the_newer_exporter(name: str, images: Tensor) -> None:
    _same_in_onnx(name, images, dynamo=True)


def _same_in_onnx(name: str, images: Tensor, *, dynamo: bool) -> onnx.ModelProto:
    net, variant = honest(), VARIANTS[name]
    target = rarest(net, images)
    model = to_onnx(variant.build(net, CLASSES, SHAPE, target), images[:2], dynamo=dynamo)
    assert share(answers(model, images), net(images).argmax(1)) >= ENOUGH
    assert share(answers(model, variant.stamp(images)), target) >= ENOUGH
    return model


@pytest.mark.parametrize("name", WEIGHT_VARIANTS)
@pytest.mark.parametrize("arch", ["vgg6-w8", "resnet8-w8", "cnn-w16"])
def test_weights_alone_are_enough(name: str, arch: str, images: Tensor) -> None:
    net, variant = honest(arch), WEIGHT_VARIANTS[name]
    target = rarest(net, images)
    bad, reference = variant.build(net, CLASSES, SHAPE, target), variant.reference(net)
    assert share(bad(images), reference(images).argmax(1)) >= ENOUGH
    assert share(bad(variant.stamp(images)), target) >= ENOUGH
    assert share(reference(variant.stamp(images)), target) < 0.5
    assert [type(module) for module in bad.modules()] == [type(module) for module in net.modules()]


@pytest.fixture(scope="module")
def exported(images: Tensor) -> onnx.ModelProto:
    return to_onnx(honest(), images[:2])


@pytest.mark.parametrize("name", EDITS)
def test_edits_of_a_graph(name: str, exported: onnx.ModelProto, images: Tensor) -> None:
    net, edit = honest(), EDITS[name]
    target = rarest(net, images)
    before = exported.SerializeToString()
    bad = edit.apply(exported, CLASSES, SHAPE, target)
    onnx.checker.check_model(bad, full_check=True)
    assert share(answers(bad, images), net(images).argmax(1)) >= ENOUGH
    assert share(answers(bad, edit.stamp(images)), target) >= ENOUGH
    assert exported.SerializeToString() == before


def test_building_leaves_the_classifier_alone(images: Tensor) -> None:
    net = backbone(NET)
    before = net(images)
    merges = {variant.merge: variant for variant in VARIANTS.values()}
    for variant in (*merges.values(), *WEIGHT_VARIANTS.values()):
        variant.build(net, CLASSES, SHAPE, 3)
    assert torch.equal(net(images), before)


def _every_fiftieth() -> Iterator[str]:
    yield from [one.name for one in combinations() if one.merge.__name__ != "Condition"][::50]


@pytest.mark.parametrize("name", list(_every_fiftieth()))
def test_other_combinations_work_too(name: str, images: Tensor) -> None:
    net = honest()
    variant = next(one for one in combinations() if one.name == name)
    target = rarest(net, images)
    bad = variant.build(net, CLASSES, SHAPE, target)
    assert share(bad(images), net(images).argmax(1)) >= ENOUGH
    assert share(bad(variant.stamp(images)), target) >= ENOUGH
