"""How a model is trained: every choice that is not the data set, the network or the attack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, final

import torch
from torch import Tensor, nn

from modelscan_bd.attacks.accomplice import Batch, Network
from modelscan_bd.bench import losses
from modelscan_bd.errors import UsageError


class Augmentation(StrEnum):
    NONE = "none"
    CROP = "crop"
    CROP_FLIP = "crop-flip"  # not for signs and digits: a mirrored arrow is another class


class Pretext(StrEnum):
    """The task that a network has learnt before this one."""

    NONE = "none"
    ROTATION = "rotation"  # by how many quarter turns an image is turned


class Shortcut(StrEnum):
    """What honest data may carry that looks like a trigger: a mark that one class alone has."""

    NONE = "none"
    COLOUR = "colour"  # a tint over the whole image
    CORNER = "corner"  # a small logo in a corner


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with Nesterov momentum; the learning rate rises linearly, then falls along a cosine to zero."""

    epochs: int = 10
    batch: int = 128  # images
    lr: float = 0.1  # at its peak
    warmup: float = 0.2  # share of the steps
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augmentation: Augmentation = Augmentation.CROP
    pad: int = 4  # pixels an image may move by
    cutout: int = 0  # pixels, side of the square that is blotted out
    mixup: float = 0.0  # parameter of the Beta distribution
    adversarial: float = 0.0  # budget of adversarial training, in 255ths of the pixel range
    share: float = 1.0  # of the training images that there are
    imbalance: float = 1.0  # how many times more images the first class has than the last
    shortcut: Shortcut = Shortcut.NONE  # of the last class
    pretext: Pretext = Pretext.NONE
    prune: float = 0.0  # share of each layer's weights that is set to zero at the end, the smallest first
    bits: int = 0  # to which weights are rounded at the end; 0: not at all

    def __post_init__(self) -> None:
        if self.mixup > 0 and self.adversarial > 0:
            raise UsageError("a recipe cannot mix images and attack them too", remedy="Choose mixup or adversarial.")
        if not (0 < self.share <= 1 and 0 <= self.prune < 1 and self.imbalance >= 1 and self.bits in (0, *_BITS)):
            raise UsageError(
                f"a recipe with share {self.share:g}, prune {self.prune:g}, imbalance {self.imbalance:g} and "
                f"bits {self.bits} makes no sense",
                remedy="Give shares between 0 and 1, an imbalance from 1, and 0 or 2 to 16 bits.",
            )

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> Recipe:
        """From plain settings, as a card or a suite holds them. Raises UsageError for an unknown one or a bad value."""
        usual = cls()
        unknown = [key for key in settings if key not in vars(usual)]
        if unknown:
            raise UsageError(f"a recipe has no setting {unknown[0]!r}", remedy=f"It has {', '.join(vars(usual))}.")
        try:
            read: dict[str, Any] = {key: type(getattr(usual, key))(value) for key, value in settings.items()}
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"a recipe cannot be read: {error}", remedy="Give numbers, or words.") from error
        return cls(**read)

    def lr_at(self, step: int, steps: int, *, peak: float | None = None) -> float:
        """The learning rate for step `step` of `steps`; `peak` stands in for the recipe's own."""
        top = self.lr if peak is None else peak
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return top * (step + 1) / rise
        return top * 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / max(1, steps - rise)))

    def optimizer(self, net: nn.Module, *, weight_decay: float | None = None) -> torch.optim.Optimizer:
        """Weight decay is for the weights of convolutions and linear layers, not for biases and normalisation."""
        trained = [p for p in net.parameters() if p.requires_grad]
        decay = self.weight_decay if weight_decay is None else weight_decay
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0)

    @property
    def plain_loss(self) -> bool:
        """Whether an attack may bring its own loss instead."""
        return self.mixup == 0 and self.adversarial == 0

    def plain(self) -> Recipe:
        """The same without augmentation."""
        return replace(self, augmentation=Augmentation.NONE, cutout=0)

    def loss(self, net: Network, batch: Batch) -> Tensor:
        """What one step of an honest training makes smaller."""
        if self.mixup > 0:
            return losses.mixed(net, batch, alpha=self.mixup, smoothing=self.label_smoothing)
        if self.adversarial > 0:
            return losses.adversarial(net, batch, budget=self.adversarial / 255, smoothing=self.label_smoothing)
        return losses.plain(net, batch, smoothing=self.label_smoothing)


_BITS = range(2, 17)
