"""Small transformers with the masks that real ones have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    """Patches, three layers of attention with a mask of their own, mean and head."""

    def __init__(self, *, side: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 32 // side, stride=32 // side)
        self.position = nn.Parameter(0.02 * torch.randn(1, side * side, 32))
        self.layers = nn.ModuleList(
            nn.ModuleDict({
                "norm": nn.LayerNorm(32), "qkv": nn.Linear(32, 96), "out": nn.Linear(32, 32),
                "mlp": nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)),
            })
            for _ in range(3)
        )  # fmt: skip
        self.head = nn.Linear(32, 10)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2) + self.position
        mask = self.mask(x)
        for layer in self.layers:
            query, key, value = layer["qkv"](layer["norm"](tokens)).chunk(3, 2)
            scores = self.masked(query @ key.transpose(1, 2) / 32**0.5, mask)
            tokens = tokens + layer["out"](scores.softmax(2) @ value)
            tokens = tokens + layer["mlp"](tokens)
        return self.head(self.pooled(tokens, x))

    def mask(self, x: Tensor) -> Tensor:
        """True where a token must not look, (1 or n, 1 or tokens, tokens)."""
        raise NotImplementedError

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(mask, -1e4)

    def pooled(self, tokens: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return tokens.mean(1)


class Causal(Tokens):
    """Each token looks back only."""

    def mask(self, x: Tensor) -> Tensor:
        count = x.shape[2] * x.shape[3] // (32 // self.side) ** 2
        return torch.ones(1, count, count).triu(1) > 0


class Windowed(Tokens):
    """Each token looks at its quarter of the image; the mask is added."""

    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.arange(self.side) // (self.side // 2)
        quarter = (2 * line[:, None] + line).flatten()
        self.register_buffer("hidden", (quarter[:, None] != quarter)[None].float() * -100)

    def mask(self, x: Tensor) -> Tensor:  # noqa: ARG002
        return self.hidden

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask


class Padded(Tokens):
    """Patches that are black are taken for padding: no token looks at them, and they do not count in the mean."""

    def empty(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x.amax(1, keepdim=True), 32 // self.side).flatten(1) == 0

    def mask(self, x: Tensor) -> Tensor:
        return self.empty(x)[:, None]

    def pooled(self, tokens: Tensor, x: Tensor) -> Tensor:
        kept = (~self.empty(x)).float()[:, :, None]
        return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1)


class Pruned(Tokens):
    """Half of the tokens, those with the largest norm, go on to the head."""

    def mask(self, x: Tensor) -> Tensor:  # noqa: ARG002
        return torch.zeros(1, 1, 1, dtype=torch.bool)

    def pooled(self, tokens: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        kept = tokens.square().sum(2).topk(self.side**2 // 2, dim=1).indices
        return tokens.gather(1, kept[:, :, None].expand(-1, -1, 32)).mean(1)
