"""Gradients through batch normalisation are those that finite differences measure, one image at a time included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modelscan_bd.batchnorm import AffineBatchNorm2d, with_affine_batchnorm
from modelscan_bd.torchvision_shim import prepare


class Tokens(nn.Module):
    """The stem of a token mixer: what follows the normalisation hands back a gradient laid out like channels-last."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = norm
        self.mix = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.mix(self.norm(self.conv(x)).flatten(2).transpose(1, 2))).mean(1)


def shaken(module: nn.Module, rng: torch.Generator) -> nn.Module:
    """In double precision, with statistics that are not those of a fresh layer, and frozen in eval mode.

    Frozen, as a scan has it: it is then that the layers behind hand back a gradient laid out like channels-last.
    """
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.3, generator=rng)
        elif name.endswith("running_var"):
            tensor.uniform_(0.3, 2.0, generator=rng)
    return module.double().eval().requires_grad_(False)


def slope_errors(module: nn.Module, x: Tensor, rng: torch.Generator, *, step: float = 1e-6) -> float:
    """Largest relative difference between autograd's and measured slopes along three random directions."""
    x = x.double().requires_grad_(True)
    weights = torch.randn(module(x).shape, generator=rng, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((module(x) * weights).sum(), x)
    worst = 0.0
    for _ in range(3):
        direction = torch.randn(x.shape, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            ahead, behind = ((module(x + s * direction) * weights).sum() for s in (step, -step))
        measured, claimed = float(ahead - behind) / (2 * step), float((gradient * direction).sum())
        worst = max(worst, abs(measured - claimed) / max(abs(measured), 1e-12))
    return worst


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class WithActivation(nn.BatchNorm2d):
    """As timm's: a subclass with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.silu(super().forward(x))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, WithActivation])
@pytest.mark.parametrize("batch", [1, 2])
def test_token_stem_has_the_measured_gradient(norm: type[nn.BatchNorm2d], batch: int, rng: torch.Generator) -> None:
    stem = with_affine_batchnorm(shaken(Tokens(norm(8)), rng))
    assert slope_errors(stem, torch.randn(batch, 3, 6, 6, generator=rng), rng) < 1e-6


def test_channels_last_images_too(rng: torch.Generator) -> None:
    stem = with_affine_batchnorm(shaken(Tokens(nn.BatchNorm2d(8)), rng))
    x = torch.randn(1, 3, 6, 6, generator=rng).to(memory_format=torch.channels_last)
    assert slope_errors(stem, x, rng) < 1e-6


@pytest.mark.parametrize(
    ("name", "options"),
    [("levit_128s", {"depth": (1, 1, 1), "img_size": 64}), ("xcit_nano_12_p16_224", {"depth": 1, "img_size": 64})],
)
def test_native_token_mixers_have_the_measured_gradient(
    name: str, options: dict[str, object], rng: torch.Generator
) -> None:
    prepare()
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model(name, pretrained=False, num_classes=7, **options)
    for key, tensor in net.state_dict().items():  # a head of zeros and layer scales of 1e-6 would hide everything
        if tensor.is_floating_point() and float(tensor.abs().max()) < 1e-3 and "running" not in key:
            tensor.normal_(0, 0.2, generator=rng)
    net = with_affine_batchnorm(shaken(net, rng))
    # slopes are near 1e-5, so finite differences hold few digits; the fault is several times the slope
    assert slope_errors(net, torch.randn(1, 3, 64, 64, generator=rng), rng) < 1e-3


def test_outputs_names_and_statistics_stay(rng: torch.Generator) -> None:
    net = shaken(Tokens(nn.BatchNorm2d(8)), rng)
    x = torch.randn(2, 3, 6, 6, generator=rng, dtype=torch.float64)
    before, values = net(x), {name: tensor.tolist() for name, tensor in net.state_dict().items()}
    assert torch.allclose(with_affine_batchnorm(net)(x), before, rtol=1e-12, atol=1e-12)
    assert isinstance(net.get_submodule("norm"), AffineBatchNorm2d)
    assert {name: tensor.tolist() for name, tensor in net.state_dict().items()} == values


def test_half_precision_stays_half(rng: torch.Generator) -> None:
    norm = with_affine_batchnorm(nn.BatchNorm2d(3).eval())
    assert norm(torch.randn(2, 3, 4, 4, generator=rng).bfloat16()).dtype is torch.bfloat16


def test_a_lone_layer_and_one_without_statistics(rng: torch.Generator) -> None:
    assert isinstance(with_affine_batchnorm(nn.BatchNorm2d(3)), AffineBatchNorm2d)
    free = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval()
    x = torch.randn(2, 3, 4, 4, generator=rng)
    assert torch.equal(free(x), with_affine_batchnorm(free)(x))
