"""Smooth stand-ins: cold they are the steps themselves, warm they have a slope where the steps have none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from modelscan_bd.graph.soft import SOFT

A = torch.tensor([-3.0, -1.0, 0.5, 2.0])
B = torch.tensor([1.0, -1.0, -2.0, 2.0])
TRUE, FALSE = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])
COLD, WARM = 1e-4, 1.0


@pytest.mark.parametrize(
    ("name", "hard", "operands"),
    [
        ("eq", torch.eq, (A, B)),
        ("ne", torch.ne, (A, B)),
        ("gt", torch.gt, (A, B + 0.01)),
        ("lt", torch.lt, (A, B + 0.01)),
        ("logical_and", torch.logical_and, (TRUE, FALSE)),
        ("logical_or", torch.logical_or, (TRUE, FALSE)),
        ("logical_not", torch.logical_not, (TRUE,)),
        ("round", torch.round, (A + 0.2,)),
        ("floor", torch.floor, (A,)),
        ("remainder", torch.remainder, (A, 2.0)),
        ("sign", torch.sign, (A,)),
    ],
)
def test_cold_ones_are_the_steps_themselves(
    name: str, hard: Callable[..., Tensor], operands: tuple[Tensor | float, ...]
) -> None:
    assert torch.allclose(SOFT[name](COLD, *operands), hard(*operands).float(), atol=1e-3)


@pytest.mark.parametrize("name", ["eq", "gt", "lt", "round", "sign", "relu", "clamp_min", "sigmoid", "pow", "amin"])
def test_warm_ones_have_a_slope_everywhere(name: str) -> None:
    second = {"eq": (7.0,), "gt": (7.0,), "lt": (-7.0,), "clamp_min": (5.0,), "pow": (16,), "amin": ([0],)}
    x = (A * 1e-2 - 5e-2).requires_grad_(True)
    SOFT[name](WARM, x, *second.get(name, ())).sum().backward()
    assert x.grad is not None
    assert (x.grad.abs() > 1e-6).all()


def test_a_choice_is_a_mixture() -> None:
    assert torch.allclose(SOFT["where"](WARM, torch.tensor([0.0, 0.25, 1.0]), 4.0, 8.0), torch.tensor([8.0, 7.0, 4.0]))
