"""A network as detectors see it: images in [0, 1] go in, logits come out, whatever the file expected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from modelscan_bd.batchnorm import with_affine_batchnorm
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.types import Images, Layout, Logits, Output, Preprocessing, Shape

Features = Float[Tensor, "n d"]

_SMALLEST_PROBABILITY = 1e-30  # a float32 softmax holds smaller ones, but 1 / p must stay finite in gradients
_PIXELS_AT_ONCE = 256 * 32 * 32
_SMALLEST_BATCH = 8


@final
class Classifier(nn.Module):
    """Wraps a checkpoint's network with its preprocessing in front and logits behind.

    `head` is the last linear layer, found by watching one forward pass, or None where there is none;
    `features` are what that layer is given. The network is taken over, not copied: its batch normalisations
    are computed so that gradients can be trusted (see `batchnorm`).
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        *,
        net: nn.Module,
        preprocessing: Preprocessing,
        classes: int,
        shape: Shape,
        output: Output = Output.LOGITS,
        differentiable: bool = True,
    ) -> None:
        super().__init__()
        self.net = with_affine_batchnorm(net).eval()
        self.preprocessing = preprocessing
        self.classes = classes
        self.shape = shape
        self.output = output
        self.differentiable = differentiable
        self.register_buffer("_mean", torch.tensor(preprocessing.mean).view(-1, 1, 1))
        self.register_buffer("_std", torch.tensor(preprocessing.std).view(-1, 1, 1))
        self.requires_grad_(False)
        self.head: nn.Linear | None = _find_head(self)

    def forward(self, images: Images) -> Logits:
        logits = first_tensor(self.net(self._prepare(images))).flatten(1)
        if self.output is Output.PROBABILITIES:
            return logits.clamp_min(_SMALLEST_PROBABILITY).log()
        return logits

    def features(self, images: Images) -> Features:
        """The penultimate activations. Raises CannotMeasure where the network does not end in a linear layer."""
        if self.head is None:
            raise CannotMeasure("the network does not end in a linear layer, so its features cannot be told apart")
        with _inputs_of(self.head) as seen:
            self(images)
        return seen[-1].flatten(1)

    def classify(self, images: Images, *, batch: int | None = None) -> Logits:
        """Logits without gradients, in batches; unless told, of as many images as memory bears at their size."""
        size = batch or max(_SMALLEST_BATCH, _PIXELS_AT_ONCE // images[0, 0].numel()) if len(images) else 1
        with torch.no_grad():
            return torch.cat([self(part) for part in images.split(size)])

    def _prepare(self, images: Images) -> Tensor:
        x = (images - self._mean) / self._std
        if self.preprocessing.bgr:
            x = x.flip(1)
        return x.permute(0, 2, 3, 1) if self.preprocessing.layout is Layout.NHWC else x


def first_tensor(output: object) -> Tensor:
    """The logits among what a network returns: itself, the first of a sequence, or `logits` of a mapping."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        return first_tensor(output.get("logits", next(iter(output.values()), None)))
    if isinstance(output, (tuple, list)) and output:
        return first_tensor(output[0])
    raise CannotMeasure(f"the network returns a {type(output).__name__}, not a tensor of logits")


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _find_head(classifier: Classifier) -> nn.Linear | None:
    """The linear layer whose output is the logits, if the forward pass ends in one."""
    outputs: dict[nn.Linear, Tensor] = {}
    linear = [m for m in classifier.net.modules() if isinstance(m, nn.Linear) and m.out_features == classifier.classes]
    handles = [m.register_forward_hook(lambda m, _, out: outputs.__setitem__(m, out)) for m in linear]
    try:
        with torch.no_grad():
            raw = first_tensor(classifier.net(classifier._prepare(torch.full((2, *classifier.shape), 0.5)))).flatten(1)
    finally:
        for handle in handles:
            handle.remove()
    return next((m for m, out in outputs.items() if _ends_in(out.flatten(1), raw, classifier.output)), None)


def _ends_in(logits: Tensor, raw: Tensor, output: Output) -> bool:
    if logits.shape != raw.shape:
        return False
    expected = F.softmax(logits, 1) if output is Output.PROBABILITIES else logits
    return torch.allclose(expected, raw, rtol=1e-4, atol=1e-5)
