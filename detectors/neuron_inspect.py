"""NeuronInspect: which pixels does each class hang on? A target's saliency lies elsewhere, the same on every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from modelscan_bd.activations import few
from modelscan_bd.passes import FastForward, chunks, require_gradients
from modelscan_bd.stats import Values, robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Need, Subject, Watch

Maps: TypeAlias = Float[Tensor, "r n h w"]
PerClass: TypeAlias = Float[Tensor, " r"]

_LEAST_SPREAD = 0.03  # of each feature's logarithm, and so of their sum
_SALIENT = 0.1  # share of the pixels that counts as salient


@final
@dataclass(frozen=True, kw_only=True)
class NeuronInspect:
    """Saliency maps of every class on the same images; their sparseness, smoothness and persistence, held together.

    The paper adds the three features with weights that suit one dataset and one scale of logits. Here each enters as
    a logarithm of what is left once a map's own strength is divided out, all three with equal weight.
    """

    card: ClassVar[Card] = Card(
        id="neuron-inspect",
        title="One class hangs on the same few pixels in every image",
        paper="Huang, Alzantot, Srivastava, NeuronInspect, AAAI workshops 2020, https://arxiv.org/abs/1911.07399",
        cost=Cost.SECONDS,
        scores={
            "anomaly_index": "robust standard deviations of the three features' sum below the median class",
            "persistence": "robust standard deviations of the maps' agreement between images above the median class",
        },
        sees="fixed patches, whose place stays salient for the target in every image",
        blind_to=(
            "nearly everything: on small networks clean and infected ones could not be told apart by it, and the class "
            "it names is seldom the target; a clean class may hang on one place too"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=4,
        effort=Effort.THOROUGH,
        published=(
            "In Tang et al. (arXiv:2006.08131), on traffic signs, its index passed 2 for BadNets and TrojanNN and "
            "stayed near the clean network's for an added Trojan module; no rate was found."
        ),
        survey=59,
    )

    images: int = 16
    most: int = 1600  # maps in all, at 32 px; with many classes each gets fewer images
    most_classes: int = 64  # with more classes than this, those that the images come nearest to

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where gradients are missing."""
        require_gradients(subject.classifier, subject.probes.images)
        classes = _likeliest(subject, self.most_classes)
        images = few(subject, min(self.images, max(4, self.most // len(classes))))
        maps = _smoothed(_saliency(subject, images, classes, watch))
        features = (_spread(maps), _roughness(maps), 1 - _agreement(maps))
        logs = [np.log(feature.double().clamp_min(1e-6).numpy(force=True)) for feature in features]
        found = {
            "anomaly_index": -sum(robust_z(values, floor=_LEAST_SPREAD) for values in logs) / np.sqrt(len(logs)),
            "persistence": -robust_z(logs[-1], floor=_LEAST_SPREAD),
        }
        per_class = {name: _everyone(values, classes, subject.classes) for name, values in found.items()}
        scores = {name: max(values) for name, values in per_class.items()}
        return Evidence(detector=self.card.id, scores=scores, per_class=per_class)


def _likeliest(subject: Subject, most: int) -> Int[Tensor, " r"]:
    nearness = subject.classifier.classify(few(subject, 32)).log_softmax(1).mean(0)
    return nearness.topk(min(most, subject.classes)).indices.sort().values


def _saliency(subject: Subject, images: Images, classes: Int[Tensor, " r"], watch: Watch) -> Maps:
    """The size of the gradient of each class's logit, at every pixel of every image."""
    forward, maps = FastForward.of(subject.classifier, images), []
    rows = torch.arange(len(classes) * len(images))
    for part in chunks(rows, images_per_row=1, shape=subject.shape):
        pixels = images[part % len(images)].requires_grad_()
        wanted = classes[part // len(images)].unsqueeze(1)
        logits = forward(pixels)
        (gradient,) = torch.autograd.grad((logits - logits.mean(1, keepdim=True)).gather(1, wanted).sum(), pixels)
        maps.append(gradient.abs().amax(1))
        watch.tick((int(part[-1]) + 1) / len(rows), f"{len(classes)} classes")
    return torch.cat(maps).view(len(classes), len(images), *subject.shape[1:])


def _smoothed(maps: Maps) -> Maps:
    """Blurred by three pixels and scaled to a mean of 1: gradients of single pixels are mostly noise."""
    blurred = F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)
    return blurred / blurred.mean((2, 3), keepdim=True).clamp_min(1e-12)


def _spread(maps: Maps) -> PerClass:
    """The share of the image on which the saliency lies: 1 for an even map, near 0 for a single spot."""
    return (1 / maps.square().mean((2, 3)).clamp_min(1e-12)).mean(1)


def _roughness(maps: Maps) -> PerClass:
    """How much neighbours differ, against the mean."""
    down, across = maps.diff(dim=2).abs().mean((2, 3)), maps.diff(dim=3).abs().mean((2, 3))
    return (down + across).mean(1)


def _agreement(maps: Maps) -> PerClass:
    """The chance that a pixel salient in one image is salient in another one."""
    flat = maps.flatten(2)
    salient = flat >= flat.quantile(1 - _SALIENT, dim=2, keepdim=True)
    often, n = salient.float().mean(1), maps.shape[1]
    pairs = (often.square() * n - often) / (n - 1)
    return pairs.sum(1) / often.sum(1).clamp_min(1e-12)


def _everyone(values: Values, classes: Int[Tensor, " r"], count: int) -> tuple[float, ...]:
    full = np.zeros(count)
    full[classes.numpy(force=True)] = values
    return tuple(full.tolist())
