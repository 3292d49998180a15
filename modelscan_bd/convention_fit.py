"""How badly a preprocessing convention fits a network, judged from outside: no judge knows how it was trained.

Each judge gives a misfit, smaller being better, on bootstrap resamples of the probe images (Efron, Annals of
Statistics 1979), so that it comes with its own doubt:

* BatchNorm: the first BatchNorm remembers mean and variance of its input over the training set. Under the right
  convention those of the probe images come close, under a wrong one they do not.
* agreement: a network that sees well gives an image, its shifted and its brightened copy one class, and different
  images different classes. Classes are compared, not probabilities: too much contrast makes any network sure.
* labels: the share of labelled images that are misclassified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modelscan_bd.classifier import Classifier
from modelscan_bd.types import Images, Labels, Probes

Misfit = Float[Tensor, " r"]  # one for each resample; the first is of all images as they are
Weights = Float[Tensor, "r n"]  # how much each image counts in each resample; rows sum to one
Judge: TypeAlias = Callable[[Classifier], Misfit]

_RESAMPLES = 200
_BRIGHTNESS = 0.1  # of pixels in [0, 1]
_SHIFT = 16  # the shift is the shorter side over this
_BATCH = 32  # images at once through the layers before the first BatchNorm
_PIXELS = 2**19  # pixels of the images that go through the whole network for every convention; 512 images of 32 x 32
_FEWEST = 24  # but no fewer images than this


def judges(classifier: Classifier, probes: Probes, *, rng: Generator) -> Mapping[str, Judge]:
    """The judges that apply to the network in `classifier` and to these images, by name; at least one does."""
    images, labels = probes.images, probes.labels
    found: dict[str, Judge] = {}
    if (reached := _reach_batchnorm(classifier, images[:1])) is not None:
        weights, channels = resampled(len(images), rng), resampled(reached[0].num_features, rng)
        found["BatchNorm"] = lambda candidate: batchnorm_misfit(candidate, images, weights, channels)
    few = images[: max(_FEWEST, _PIXELS // images[0, 0].numel())]
    sample = resampled(len(few), rng)
    if not found:
        found["agreement"] = lambda candidate: agreement_misfit(candidate, few, sample)
    if labels is not None:
        found["labels"] = lambda candidate: label_misfit(candidate, few, labels[: len(few)], sample)
    return found


def remembers_inputs(classifier: Classifier) -> bool:
    """Whether a BatchNorm with running statistics lies on the way, the judge that is both cheap and sharp."""
    return _reach_batchnorm(classifier, torch.full((1, *classifier.shape), 0.5)) is not None


def resampled(n: int, rng: Generator) -> Weights:
    """Bootstrap weights over `n` things; the first row is uniform."""
    drawn = torch.randint(n, (_RESAMPLES, n), generator=rng)
    counts = torch.zeros(_RESAMPLES, n).scatter_add_(1, drawn, torch.ones(_RESAMPLES, n))
    counts[0] = 1
    return counts / n


def batchnorm_misfit(
    classifier: Classifier, images: Images, weights: Weights, channels: Float[Tensor, "r d"]
) -> Misfit:
    """Mean over channels of log(1 + KL) between the normals given by the probes' and the remembered moments."""
    reached = [seen for seen in map(partial(_reach_batchnorm, classifier), images.split(_BATCH)) if seen is not None]
    memory = reached[0][0]
    mean = weights @ torch.cat([seen.flatten(2).mean(2) for _, seen in reached])
    power = weights @ torch.cat([seen.pow(2).flatten(2).mean(2) for _, seen in reached])
    variance = (power - mean**2).clamp_min(0)
    assert memory.running_mean is not None
    assert memory.running_var is not None
    known = memory.running_var + memory.eps
    ratio = (variance + memory.eps) / known
    divergence = 0.5 * (ratio + (mean - memory.running_mean) ** 2 / known - 1 - ratio.log())
    return (channels * divergence.clamp_min(0).log1p()).sum(1)


def agreement_misfit(classifier: Classifier, images: Images, weights: Weights) -> Misfit:
    """1 - mutual information between the classes of images and of their copies, as a share of the most possible."""
    plain = classifier.classify(images).argmax(1)
    copies = [classifier.classify(copy).argmax(1) for copy in _copies(images)]
    shared = torch.stack([_mutual_information(plain, copy, weights) for copy in copies]).mean(0)
    return 1 - shared / torch.tensor(float(min(classifier.classes, len(images)))).log()


def label_misfit(classifier: Classifier, images: Images, labels: Labels, weights: Weights) -> Misfit:
    """The share of images that are not given their label."""
    return weights @ (classifier.classify(images).argmax(1) != labels).float()


def _copies(images: Images) -> list[Images]:
    step = max(1, min(images.shape[-2:]) // _SHIFT)
    return [
        images.roll((step, step), (2, 3)),
        images.roll((-step, -step), (2, 3)),
        (images - _BRIGHTNESS).clamp(0, 1),
        (images + _BRIGHTNESS).clamp(0, 1),
    ]


def _mutual_information(one: Labels, other: Labels, weights: Weights) -> Misfit:
    """In nats, of two labellings of the same images, for each row of weights."""
    rows, one = one.unique(return_inverse=True)
    columns, other = other.unique(return_inverse=True)
    cell = (one * len(columns) + other).expand(len(weights), -1)
    joint = torch.zeros(len(weights), len(rows) * len(columns)).scatter_add_(1, cell, weights)
    joint = joint.view(len(weights), len(rows), len(columns))
    return _entropy(joint.sum(2)) + _entropy(joint.sum(1)) - _entropy(joint.flatten(1))


def _entropy(shares: Float[Tensor, "r m"]) -> Misfit:
    entropy: Misfit = -torch.special.xlogy(shares, shares).sum(1)
    return entropy


class _Reached(Exception):
    """Stops a forward pass where the first BatchNorm is about to run."""

    def __init__(self, memory: _BatchNorm, seen: Tensor) -> None:
        super().__init__()
        self.memory = memory
        self.seen = seen


def _stop_at(module: nn.Module, args: tuple[Tensor, ...]) -> None:
    assert isinstance(module, _BatchNorm)
    raise _Reached(module, args[0])


def _reach_batchnorm(classifier: Classifier, images: Images) -> tuple[_BatchNorm, Float[Tensor, "n d *space"]] | None:
    """The first BatchNorm on the way of the images, and what it is given; None where there is none."""
    handles = [m.register_forward_pre_hook(_stop_at) for m in classifier.net.modules() if _remembers(m)]
    try:
        with torch.no_grad():
            classifier(images)
    except _Reached as stop:
        return stop.memory, stop.seen if stop.seen.ndim > 2 else stop.seen.unsqueeze(2)
    finally:
        for handle in handles:
            handle.remove()
    return None


def _remembers(module: nn.Module) -> bool:
    """Whether it is a BatchNorm whose running mean has left 0, where it starts."""
    return isinstance(module, _BatchNorm) and module.running_mean is not None and bool(module.running_mean.any())
