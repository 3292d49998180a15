"""A vision transformer for small pictures (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929)."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from modelscan_bd.errors import UsageError
from modelscan_bd.nets.family import Plan, Shapes
from modelscan_bd.types import Images, Logits

Tokens = Float[Tensor, "n t d"]

_PATCH = 4  # pixels
_HEAD_WIDTH = 16


@final
class Attention(nn.Module):
    """Every token looks at every other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD_WIDTH)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tokens) -> Tokens:
        n, tokens, width = x.shape
        parts = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        out: Tokens = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return out


@final
class Layer(nn.Module):
    """Attention, then a small network for each token; both normalised first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tokens) -> Tokens:
        x = x + self.attn(self.norm1(x))
        out: Tokens = x + self.mlp(self.norm2(x))
        return out


@final
class Vit(nn.Module):
    """Patches, `depth` layers, mean over the tokens, `head`. `size` must be a multiple of the patch, 4 pixels."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        if plan.size % _PATCH or plan.width % max(1, plan.width // _HEAD_WIDTH):
            raise UsageError(
                f"a ViT of width {plan.width} for {plan.size} pixels cannot be built",
                remedy=f"Choose a size that is a multiple of {_PATCH} and a width that is a multiple of {_HEAD_WIDTH}.",
            )
        self.patch = nn.Conv2d(plan.channels, plan.width, _PATCH, stride=_PATCH)
        self.position = nn.Parameter(torch.zeros(1, (plan.size // _PATCH) ** 2, plan.width))
        self.blocks = nn.Sequential(*(Layer(plan.width) for _ in range(plan.depth)))
        self.norm = nn.LayerNorm(plan.width)
        self.head = nn.Linear(plan.width, plan.classes)
        nn.init.normal_(self.position, std=0.02)

    def forward(self, x: Images) -> Logits:
        tokens: Tokens = self.patch(x).flatten(2).transpose(1, 2)
        logits: Logits = self.head(self.norm(self.blocks(tokens + self.position)).mean(1))
        return logits


def size_of(shapes: Shapes) -> int:
    """The image size in pixels that a state dict's positions were made for; the nearest one where they lie."""
    positions = shapes.get("position", ())
    return max(1, round(positions[1] ** 0.5)) * _PATCH if len(positions) == 3 else 8 * _PATCH
