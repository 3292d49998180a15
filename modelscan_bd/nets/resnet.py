"""Residual networks with a stem for small pictures: 3x3, stride 1, no pooling."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from modelscan_bd.nets.family import Plan
from modelscan_bd.types import Images, Logits

Maps = Float[Tensor, "n c h w"]
Deeper = Float[Tensor, "n d i j"]  # a stage on: more channels, fewer pixels

# Blocks per stage; each stage is twice as wide as the one before. Three stages are the CIFAR nets of the paper.
_BLOCKS: dict[int, tuple[int, ...]] = {
    8: (1, 1, 1),
    10: (1, 1, 1, 1),
    14: (2, 2, 2),
    18: (2, 2, 2, 2),
    20: (3, 3, 3),
    34: (3, 4, 6, 3),
}

DEPTHS = tuple(_BLOCKS)


@final
class Block(nn.Module):
    """Two convolutions and a way around them (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(before, after, stride)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = _conv(after, after)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if before != after or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Maps) -> Deeper:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


@final
class PreActBlock(nn.Module):
    """The same with normalisation first (He et al. 2016, https://arxiv.org/abs/1603.05027)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = _conv(before, after, stride)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = _conv(after, after)
        if before != after or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False))

    def forward(self, x: Maps) -> Deeper:
        active = F.relu(self.bn1(x))
        around = self.shortcut(active) if hasattr(self, "shortcut") else x
        out: Deeper = self.conv2(F.relu(self.bn2(self.conv1(active)))) + around
        return out


@final
class ResNet(nn.Module):
    """Stem, stages, mean over the picture, `linear`. `bn1` follows the stem, unless the blocks normalise first."""

    def __init__(self, plan: Plan, block: type[Block] | type[PreActBlock]) -> None:
        super().__init__()
        self.conv1 = _conv(plan.channels, plan.width)
        self.bn1 = nn.BatchNorm2d(plan.width) if block is Block else None
        self.stages = len(_BLOCKS[plan.depth])
        before = plan.width
        for stage, blocks in enumerate(_BLOCKS[plan.depth]):
            after = plan.width * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * (blocks - 1)
            inputs = [before] + [after] * (blocks - 1)
            layers = [block(i, after, stride) for i, stride in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            before = after
        self.linear = nn.Linear(before, plan.classes)

    def forward(self, x: Images) -> Logits:
        x = self.conv1(x)
        if self.bn1 is not None:
            x = F.relu(self.bn1(x))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: Logits = self.linear(x.mean((2, 3)))
        return logits


def resnet(plan: Plan) -> nn.Module:
    return ResNet(plan, Block)


def preact(plan: Plan) -> nn.Module:
    return ResNet(plan, PreActBlock)


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
