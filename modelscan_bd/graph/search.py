"""Pictures that may wake a branch: guesses, and climbs along its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import torch

from modelscan_bd.graph.branch import Branch
from modelscan_bd.graph.guesses import guesses
from modelscan_bd.types import Images, Watch

_GUESSES = 250  # batches, before the climbs and after
_STEPS, _LOOK = 320, 20  # of a climb, and after how many its pictures are looked at
_PACE, _LAST_PACE = 0.1, 0.0002  # of the first and the last step, in pixel values
_START = 0.02  # spread of pixel values about where a climb starts


def attempts(branch: Branch, work: float, rng: torch.Generator, watch: Watch) -> Iterator[Images]:
    """Batches of pictures, until the machine has done as much `work` (see `Machine.work`) for them."""
    source, ends = guesses(branch.images, rng), branch.machine.work + work
    for pictures in chain(islice(source, _GUESSES), _climbs(branch, ends, rng), islice(source, _GUESSES)):
        watch.tick(0.0, f"trying {branch.name}")
        yield pictures
        if branch.machine.work > ends:
            return


def _climbs(branch: Branch, ends: float, rng: torch.Generator) -> Iterator[Images]:
    noise = torch.rand(branch.images.shape, generator=rng)
    for start in (branch.images, noise, torch.full_like(noise, 0.5), noise.flip(0), branch.images.flip(0)):
        try:
            yield from _climb(branch, (start + _START * torch.randn(start.shape, generator=rng)).clamp(0, 1), ends)
        except (RuntimeError, TypeError, ValueError):  # a step that has no smooth stand-in
            return


def _climb(branch: Branch, start: Images, ends: float) -> Iterator[Images]:
    """Half of the pictures raise the branch's value, half lower it."""
    x = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([x], lr=_PACE)
    sign = torch.ones(len(x)).masked_fill(torch.arange(len(x)) % 2 == 1, -1.0)
    for step in range(_STEPS):
        share = step / _STEPS
        adam.param_groups[0]["lr"] = _PACE * (_LAST_PACE / _PACE) ** share
        adam.zero_grad()
        (-(branch.gain(x, 1.0 - 0.95 * share) * sign).sum()).backward()
        if x.grad is None or not torch.isfinite(x.grad).all():
            return
        x.grad /= x.grad.flatten(1).norm(dim=1).clamp_min(1e-20)[:, None, None, None]
        adam.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        if step % _LOOK == _LOOK - 1:
            yield x.detach().clone()
        if branch.machine.work > ends:
            return
