"""Passes through a network in bounded memory, and in the fastest arithmetic that keeps its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.types import Images, Logits, Shape

_VALUES_PER_PASS = 1 << 20  # input values in one pass: 340 images of 32 px; more only leaves the processor's caches
_FEWEST_IMAGES = 8
_SAME_ANSWER = 0.97  # share of images whose top class bfloat16 must not change


def images_per_pass(shape: Shape) -> int:
    """How many images of `shape` go through the network at once, forward and backward."""
    c, h, w = shape
    return max(_FEWEST_IMAGES, _VALUES_PER_PASS // (c * h * w))


def chunks(rows: Tensor, *, images_per_row: int, shape: Shape) -> Iterator[Tensor]:
    """Splits row numbers so that each part, at `images_per_row`, fits one pass."""
    yield from rows.split(max(1, images_per_pass(shape) // images_per_row))


def require_gradients(classifier: Classifier, images: Images) -> None:
    """Raises CannotMeasure where a change of the image cannot be followed to the logits, or has no effect on them."""
    if not classifier.differentiable:
        raise CannotMeasure("the network gives no gradients")
    pixels = images[:_FEWEST_IMAGES].detach().clone().requires_grad_()
    logits = classifier(pixels)
    if not logits.isfinite().all():
        raise CannotMeasure("the network's outputs are not finite numbers")
    if not logits.requires_grad:
        raise CannotMeasure("the network's outputs do not depend on the image in a way that gradients can follow")
    (gradient,) = torch.autograd.grad((logits * torch.arange(1, logits.shape[1] + 1)).sum(), pixels)
    if not gradient.isfinite().all() or not gradient.any():
        raise CannotMeasure("the network's gradients are zero or not finite, so no class can be approached")


@final
@dataclass(frozen=True, kw_only=True)
class FastForward:
    """A classifier called in channels-last order and, where `half` says so, in bfloat16. Logits stay float32."""

    classifier: Classifier
    half: bool

    @classmethod
    def of(cls, classifier: Classifier, images: Images) -> FastForward:
        """Uses bfloat16 only if the processor computes in it and it leaves the answers on `images` as they are."""
        return cls(classifier=classifier, half=_half_is_native(images) and _half_agrees(classifier, images))

    def __call__(self, images: Images) -> Logits:
        with _arithmetic(images, half=self.half):
            logits: Tensor = self.classifier(images.contiguous(memory_format=torch.channels_last))
        return logits.float()


def _half_is_native(images: Images) -> bool:
    if images.is_cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _half_agrees(classifier: Classifier, images: Images) -> bool:
    """Some operators have no bfloat16 kernel; a network that uses one simply stays in float32."""
    exact = classifier.classify(images).argmax(1)
    try:
        with torch.no_grad(), _arithmetic(images, half=True):
            rough = torch.cat([classifier(part) for part in images.split(images_per_pass(classifier.shape))])
    except (RuntimeError, NotImplementedError):
        return False
    return bool((rough.argmax(1) == exact).float().mean() >= _SAME_ANSWER)


def _arithmetic(images: Images, *, half: bool) -> AbstractContextManager[object]:
    return torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half)
