"""Every family builds, answers with logits, and is recognised again by its shapes alone."""

import pytest
import torch
from torch import nn

from modelscan_bd import nets
from modelscan_bd.errors import UsageError

NARROW = [name for name in nets.names() if not name.endswith("-w64") or name.startswith("vit")]


def shapes_of(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def recognised(shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, nn.Module]]:
    return [found for family in nets.FAMILIES if (found := family.fitting(shapes))]


@pytest.mark.parametrize("name", NARROW)
def test_logits_have_one_column_per_class(name: str) -> None:
    net = nets.build(name, classes=7).eval()
    with torch.no_grad():
        assert net(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert any(isinstance(m, nn.Linear) and m.out_features == 7 for m in net.modules())


@pytest.mark.parametrize("family", nets.FAMILIES, ids=lambda family: family.name)
def test_grey_pictures_of_28_pixels_fit_too(family: nets.Family) -> None:
    net = nets.build(family.labels()[0], classes=5, channels=1, size=28).eval()
    with torch.no_grad():
        assert net(torch.rand(3, 1, 28, 28)).shape == (3, 5)


@pytest.mark.parametrize("name", nets.names())
def test_a_state_dict_tells_its_own_name_and_no_other(name: str) -> None:
    with torch.device("meta"):
        shapes = shapes_of(nets.build(name, classes=11, channels=1, size=28))
    found = recognised(shapes)
    assert [label for label, _ in found] == [name]
    assert shapes_of(found[0][1]) == shapes


def test_an_unlisted_width_is_recognised_with_its_weights() -> None:
    net = nets.build("preact8-w5", classes=4).eval()
    [(label, twin)] = recognised(shapes_of(net))
    twin.load_state_dict(net.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert label == "preact8-w5"
    assert torch.equal(twin.eval()(images), net(images))


def test_counters_of_old_checkpoints_may_be_missing() -> None:
    shapes = shapes_of(nets.build("resnet8-w8", classes=4))
    without = {name: shape for name, shape in shapes.items() if "num_batches" not in name}
    assert [label for label, _ in recognised(without)] == ["resnet8-w8"]


@pytest.mark.parametrize(
    "change",
    [
        lambda shapes: shapes | {"extra.weight": (3, 3)},
        lambda shapes: {name: shape for name, shape in shapes.items() if name != "layer2.0.bn1.weight"},
        lambda shapes: shapes | {"layer1.0.conv1.weight": (8, 8, 5, 5)},
        lambda shapes: shapes | {"linear.weight": (10**12, 32)},
        lambda shapes: shapes | {"conv1.weight": (0, 3, 3, 3)},
    ],
    ids=["one too many", "one missing", "another kernel", "absurd head", "no channels"],
)
def test_anything_else_is_not_recognised(change) -> None:
    assert recognised(change(shapes_of(nets.build("resnet8-w8", classes=4)))) == []


def test_timm_and_torchvision_names_are_passed_on() -> None:
    assert nets.build("timm:test_resnet", classes=3).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    net = nets.build("torchvision:squeezenet1_1", classes=3).eval()
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    "name", ["resnet18w16", "resnet19-w16", "vit", "timm:resnet18x", "torchvision:resnet19", "x:y"]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match="nearest names"):
        nets.build(name, classes=3)


def test_a_size_no_transformer_can_cut_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="30 pixels"):
        nets.build("vit-w32", classes=3, size=30)
