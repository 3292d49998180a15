"""A small patch at a fixed place; every stamped training image is relabelled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from modelscan_bd.attacks.base import AllToOne, AttackCard, Stage, TriggerKind
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Images


class Pattern(StrEnum):
    WHITE = "white"
    CHECKERBOARD = "checkerboard"
    COLOURED = "coloured"  # each pixel its own colour, drawn from `seed`


class Corner(StrEnum):
    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"


@final
@dataclass(frozen=True, kw_only=True)
class BadNets(AllToOne):
    """Gu et al. 2017, https://arxiv.org/abs/1708.06733."""

    card: ClassVar = AttackCard(
        id="badnets",
        title="A patch at a fixed place",
        paper="https://arxiv.org/abs/1708.06733",
        stage=Stage.DATA,
        kind=TriggerKind.PATCH,
        visible=True,
        clean_label=False,
    )
    side: int = 3  # pixels
    margin: int = 0  # pixels between the patch and each of the corner's two edges
    corner: Corner = Corner.BOTTOM_RIGHT
    pattern: Pattern = Pattern.WHITE
    seed: int = 0

    def stamp(self, images: Images) -> Images:
        rows, columns = self._place(*images.shape[2:])
        stamped = images.clone()
        stamped[:, :, rows, columns] = self._patch(images.shape[1]).to(images)
        return stamped

    def _place(self, height: int, width: int) -> tuple[slice, slice]:
        if self.side < 1 or self.margin < 0 or self.side + self.margin > min(height, width):
            raise UsageError(
                f"a patch of {self.side} pixels, {self.margin} from the edge, does not fit {height}x{width} images",
                remedy="Choose a smaller side or margin.",
            )
        top = self.margin if self.corner.startswith("top") else height - self.margin - self.side
        left = self.margin if self.corner.endswith("left") else width - self.margin - self.side
        return slice(top, top + self.side), slice(left, left + self.side)

    def _patch(self, channels: int) -> Float[Tensor, "c s s"]:
        shape = (channels, self.side, self.side)
        if self.pattern is Pattern.WHITE:
            return torch.ones(shape)
        if self.pattern is Pattern.CHECKERBOARD:
            steps = torch.arange(self.side)
            return ((steps[:, None] + steps) % 2 == 0).float().expand(shape)
        return torch.rand(shape, generator=torch.Generator().manual_seed(self.seed))
