"""Adam over a batch of independent problems, of which some may stop while the others go on."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

_EPSILON = 1e-8


@final
class RowAdam:
    """torch.optim.Adam steps every row or none; here each row of `values` is a problem with its own clock.

    Paper: Kingma and Ba, Adam, ICLR 2015.
    """

    def __init__(self, values: Float[Tensor, k * rest], *, rate: float, betas: tuple[float, float]) -> None:
        self.values = values.clone()
        self.steps = torch.zeros(len(values), dtype=torch.long, device=values.device)
        self._rate, self._betas = rate, betas
        self._first, self._second = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, rows: Int[Tensor, " r"], gradient: Float[Tensor, r * rest]) -> None:
        """Moves the problems `rows` one step down their gradient."""
        one, two = self._betas
        self.steps[rows] += 1
        first = self._first[rows].lerp(gradient, 1 - one)
        second = self._second[rows].lerp(gradient.square(), 1 - two)
        clock = self.steps[rows].view(-1, *[1] * (gradient.dim() - 1))
        step = first / (1 - one**clock) / ((second / (1 - two**clock)).sqrt() + _EPSILON)
        self._first[rows], self._second[rows] = first, second
        self.values[rows] -= self._rate * step
