"""A whole network is compared with the architecture whose weights it has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelscan_bd.loading import claims
from modelscan_bd.torchvision_shim import prepare


@pytest.fixture
def net() -> nn.Module:
    prepare()
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    return squeezenet1_1(num_classes=7).eval()


def test_a_network_that_is_what_it_seems_is_not_spoken_of(net: nn.Module) -> None:
    assert list(claims.sights(net, "m.pt")) == []


def test_an_exchanged_layer_is_named(net: nn.Module) -> None:
    net.set_submodule("features.1", nn.Hardswish())
    [sight] = claims.sights(net, "m.pt")
    assert sight.place == "features.1"
    assert "torchvision:squeezenet1_1" in sight.message
    assert "features.1 is Hardswish, not ReLU" in sight.message


def test_a_layer_that_changes_nothing_is_no_lie(net: nn.Module) -> None:
    net.set_submodule("classifier.0", nn.Identity())  # dropout, which is idle
    assert list(claims.sights(net, "m.pt")) == []


def test_a_network_of_ones_own_claims_nothing() -> None:
    own = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.LazyLinear(3))
    own(torch.zeros(1, 3, 8, 8))
    assert list(claims.sights(own, "m.pt")) == []
