"""Networks that are one straight line of convolutions: plain CNN, VGG and MobileNet."""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from modelscan_bd.nets.family import Plan
from modelscan_bd.types import Images, Logits

# Widths of each stage as multiples of the first, a pooling after each.
_VGG_STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    6: ((1, 1), (2, 2), (4,)),
    8: ((1,), (2,), (4, 4), (8, 8, 8)),
    11: ((1,), (2,), (4, 4), (8, 8), (8, 8)),
    13: ((1, 1), (2, 2), (4, 4), (8, 8), (8, 8)),
    16: ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)),
}
# Width and stride of each separable block (Howard et al. 2017, shortened for 32 pixels).
_MOBILE_BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2))

VGG_DEPTHS = tuple(_VGG_STAGES)


@final
class StraightNet(nn.Module):
    """`features`, mean over the picture, `classifier`."""

    def __init__(self, features: nn.Sequential, *, width: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Images) -> Logits:
        hidden: Float[Tensor, "n d h w"] = self.features(x)
        logits: Logits = self.classifier(hidden.mean((2, 3)))
        return logits


def cnn(plan: Plan) -> nn.Module:
    """`depth` convolutions without normalisation, each twice as wide as the one before, each followed by a pooling."""
    layers: list[nn.Module] = []
    before = plan.channels
    for step in range(plan.depth):
        after = plan.width * 2**step
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        before = after
    return StraightNet(nn.Sequential(*layers), width=before, classes=plan.classes)


def vgg(plan: Plan) -> nn.Module:
    """VGG (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556) with BatchNorm and a single linear layer."""
    layers: list[nn.Module] = []
    before = plan.channels
    for stage in _VGG_STAGES[plan.depth]:
        for factor in stage:
            after = plan.width * factor
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        layers.append(nn.MaxPool2d(2, ceil_mode=True))  # 28 pixels survive five halvings
    return StraightNet(nn.Sequential(*layers), width=before, classes=plan.classes)


def mobilenet(plan: Plan) -> nn.Module:
    """Depthwise-separable convolutions in the manner of MobileNet (https://arxiv.org/abs/1704.04861)."""
    layers = [_normalised(plan.channels, plan.width, kernel=3)]
    before = plan.width
    for factor, stride in _MOBILE_BLOCKS[: plan.depth]:
        after = plan.width * factor
        layers += [_normalised(before, before, kernel=3, stride=stride, groups=before), _normalised(before, after)]
        before = after
    return StraightNet(nn.Sequential(*layers), width=before, classes=plan.classes)


def _normalised(before: int, after: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())
