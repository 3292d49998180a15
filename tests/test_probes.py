"""Procedural images: any shape, any number, in range, and as lively as photographs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscan_bd.probes import FAMILIES, procedural


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(2, 40), st.integers(2, 40)),
    images=st.integers(1, 13),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_number_gives_finite_pixels_in_range(shape, images, seed):
    drawn = procedural(shape, images, rng=torch.Generator().manual_seed(seed))
    assert drawn.shape == (images, *shape)
    assert drawn.isfinite().all()
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_the_generator_decides_everything():
    before = torch.get_rng_state()
    one, same = (procedural((3, 16, 16), 10, rng=torch.Generator().manual_seed(1)) for _ in range(2))
    other = procedural((3, 16, 16), 10, rng=torch.Generator().manual_seed(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_images_are_as_bright_and_contrasty_as_photographs():
    drawn = procedural((3, 32, 32), 200, rng=torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(0.48, abs=0.06)
    assert drawn.std().item() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_no_two_images_of_a_family_are_alike(family):
    drawn = family(6, (3, 24, 24), torch.Generator().manual_seed(0)).flatten(1)
    apart = torch.cdist(drawn, drawn) + torch.eye(6) * 1e9
    assert apart.min() > 0.5


def test_noise_falls_off_with_frequency():
    drawn = procedural((1, 64, 64), 100, rng=torch.Generator().manual_seed(0))[1 :: len(FAMILIES)]
    power = torch.fft.rfft2(drawn - drawn.mean((2, 3), keepdim=True)).abs().pow(2).mean((0, 1))
    assert power[0, 1:4].mean() > 20 * power[0, 16:32].mean()
