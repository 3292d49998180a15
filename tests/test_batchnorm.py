"""Eval-mode batch normalisation: the same values as torch's, and an input gradient that is right at batch 1."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from modelscan_bd.batchnorm import with_affine_batchnorm


def _norm(generator: torch.Generator, *, affine: bool = True) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(8, affine=affine).double().eval()
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        if value is not None:
            value.data.copy_(torch.rand(8, generator=generator, dtype=torch.float64) + 0.5)
    return norm


def _token_gradient(norm: nn.Module, image: Tensor, weights: Tensor) -> Tensor:
    """d(weights . tokens)/d(image), where tokens are laid out as in the stems of LeViT and XCiT."""
    pixels = image.clone().requires_grad_()
    (norm(pixels).flatten(2).transpose(1, 2) * weights).sum().backward()
    assert pixels.grad is not None
    return pixels.grad


@pytest.mark.parametrize("affine", [True, False])
def test_values_are_those_of_torch(affine: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    norm = _norm(generator, affine=affine)
    images = torch.randn(3, 8, 6, 6, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(with_affine_batchnorm(copy.deepcopy(norm))(images), norm(images))


def test_gradient_at_batch_one_behind_a_token_stem_is_right() -> None:
    """torch 2.13 on the CPU is wrong here by several times the gradient; the layer is linear, so the truth is known."""
    generator = torch.Generator().manual_seed(2)
    norm = _norm(generator)
    assert norm.running_var is not None
    image = torch.randn(1, 8, 6, 6, generator=generator, dtype=torch.float64)
    weights = torch.randn(1, 36, 8, generator=generator, dtype=torch.float64)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().view(1, 8, 1, 1)
    truth = weights.transpose(1, 2).reshape(1, 8, 6, 6) * scale
    torch.testing.assert_close(_token_gradient(with_affine_batchnorm(norm), image, weights), truth)


def test_names_weights_and_precision_are_kept() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
    names = list(net.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert with_affine_batchnorm(net)(torch.rand(2, 3, 6, 6)).dtype is torch.bfloat16
    assert list(net.state_dict()) == names
    assert isinstance(net[1], nn.BatchNorm2d)


def test_training_mode_is_torchs_own() -> None:
    norm = with_affine_batchnorm(nn.BatchNorm1d(4)).train()
    out = norm(torch.randn(64, 4, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
