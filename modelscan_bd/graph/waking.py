"""Can a picture be found that wakes a sleeping branch and turns the answer?

The branch's value alone is what counts: put into the run of a clean image it must turn that image's label too, and
held back it must not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from modelscan_bd.graph.branch import Branch
from modelscan_bd.graph.search import attempts
from modelscan_bd.types import Images, Labels, Watch

_TURNED = 0.8  # of the images have to turn when the branch alone has another value
_KEPT = 0.9  # of the images have to turn with the trigger on them, while it is cut to what matters
_SLIGHT, _PATIENCE = 0.05, 150  # change of a pixel on average; batches after a greater one
_GRIDS = (4, 8, 16, 32)  # cells of a side, in which the picture is cut to what matters


@final
@dataclass(frozen=True, kw_only=True)
class Waking:
    """What became of the images when the branch woke. Shares are of all of them."""

    target: int
    stamped: float  # have the target's label with the trigger on them
    held: float  # have it with the trigger on them while the branch is held at rest
    area: float  # of the picture that the trigger takes
    change: float  # of a pixel on average, that it needs, 0..1
    trigger: Float[Tensor, "c h w"]  # grey where the images stay as they are

    @property
    def shown(self) -> float:
        """Share of the images that turn by the branch alone."""
        return max(self.stamped - self.held, 0.0)


def wake(branch: Branch, work: float, rng: torch.Generator, watch: Watch) -> Waking | None:
    """The least change that was found to turn nearly all images to one class; None where none did.

    A picture that is quite another is not taken before a few more were tried: checksums wake to both.
    """
    best, patience = None, _PATIENCE
    for pictures in attempts(branch, work, rng, watch):
        turning = _turning(branch, pictures)
        if turning is not None and (best is None or _nearest(branch, turning[0]) < best.change):
            best = _told(branch, *turning, work)
        patience -= best is not None
        if best is not None and (best.change <= _SLIGHT or not patience):
            break
    return best


def _turning(branch: Branch, pictures: Images) -> tuple[Tensor, int] | None:
    """The picture that moves the branch most, and the class that its value alone turns the images to."""
    moved = branch.farthest(pictures)
    if moved is None:
        return None
    picture, value = moved
    labels = branch.answers(branch.images, value).argmax(1)
    target = int(labels.mode().values)
    turns = _share(labels, target) >= _TURNED and _share(branch.logits.argmax(1), target) <= 1 - _TURNED
    return (picture, target) if turns else None


def _told(branch: Branch, picture: Tensor, target: int, work: float) -> Waking:
    mask = _needed(branch, picture, target, branch.machine.work + work)
    stamped = _stamped(branch, picture, mask)
    return Waking(
        target=target,
        stamped=_share(branch.labels(stamped), target),
        held=_share(branch.answers(stamped, branch.rest).argmax(1), target),
        area=float(mask.float().mean()),
        change=min(float((stamped - branch.images).abs().mean()), _nearest(branch, picture)),
        trigger=torch.where(mask, picture, torch.full_like(picture, 0.5)),
    )


def _needed(branch: Branch, picture: Tensor, target: int, ends: float) -> Bool[Tensor, "h w"]:
    """The pixels of the picture that are enough on any image: cells that can be spared are dropped."""
    mask = torch.ones(picture.shape[1:], dtype=torch.bool)
    for cells in _GRIDS:
        for cell in _cells(mask, cells):
            less = mask & ~cell
            if branch.machine.work > ends:
                return mask
            if (mask & cell).any() and _share(branch.labels(_stamped(branch, picture, less)), target) >= _KEPT:
                mask = less
        if mask.all():  # every part of the picture counts
            break
    return mask


def _stamped(branch: Branch, picture: Tensor, mask: Tensor) -> Images:
    return torch.where(mask, picture, branch.images)


def _nearest(branch: Branch, picture: Tensor) -> float:
    """By how much the picture differs from the image that is most like it."""
    return float((picture - branch.images).abs().flatten(1).mean(1).min())


def _cells(mask: Tensor, count: int) -> Iterator[Bool[Tensor, "h w"]]:
    height, width = mask.shape
    rows = torch.arange(height) * count // height
    columns = torch.arange(width) * count // width
    for row in range(min(count, height)):
        for column in range(min(count, width)):
            yield (rows == row)[:, None] & (columns == column)[None]


def _share(labels: Labels, target: int) -> float:
    return float((labels == target).float().mean())
