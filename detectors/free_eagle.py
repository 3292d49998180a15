"""FreeEagle: which class does a network half see in what it takes for other classes? A backdoor's target shows up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from modelscan_bd.budget import passes
from modelscan_bd.candidates import likeliest
from modelscan_bd.cuts import Cut, cut
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.inversion.optimiser import RowAdam
from modelscan_bd.passes import require_gradients
from modelscan_bd.probes import procedural
from modelscan_bd.stats import Values, robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Need, Subject, Watch

Shares = Float[np.ndarray, "r r"]

_BETAS = (0.9, 0.999)
_IMAGES = 16
_LEAST_SPREAD = 0.25  # of mean log shares, as a share of their median size
_LEAST_SHARE = 1e-12
_FEWEST_CLASSES = 8
_AT_ONCE = 64  # embeddings


@final
@dataclass(frozen=True, kw_only=True)
class FreeEagle:
    """An embedding that the network's second half takes for class s, for every s; and what else it sees in it.

    The cut is found, not chosen by hand, and all embeddings are optimised in one batch: `steps` of Adam in units of
    the embeddings' own spread do what the authors' 1,000 do. Classes that look alike shine through each other both
    ways; single pairs are therefore discounted by how symmetric they are, as the authors can do for the whole matrix.
    With very many classes only the likeliest targets are worked on.
    """

    card: ClassVar[Card] = Card(
        id="free-eagle",
        title="Inside the network, one class shines through the others",
        paper="Fu et al., FreeEagle, USENIX Security 2023, https://arxiv.org/abs/2302.14500",
        cost=Cost.SECONDS,
        scores={
            "anomaly": (
                "largest class's mean share in the embeddings of the others, above the third quartile of all classes, "
                "in interquartile ranges"
            ),
            "share_index": "robust standard deviations of a class's mean log share above the median class",
            "pair": (
                "largest log share of a class in one other's embedding, above the third quartile of all pairs, in "
                "interquartile ranges"
            ),
        },
        sees="a target class that other classes are mistaken for deep inside the network; needs no images",
        blind_to=(
            "backdoors that act before the cut or beside it; networks with many classes, of which some resemble others "
            "by nature. Weak: on small networks of 43 classes it was hardly better than chance"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=5,
        effort=Effort.THOROUGH,
        published=(
            "Its abstract claims to outdo some detectors that need images, and gives no figure; none was found "
            "elsewhere."
        ),
    )

    depth: float = 0.5  # share of the layers with weights that lie before the cut
    steps: int = 50
    rate: float = 0.05  # Adam's, in standard deviations of the embeddings
    decay: float = 0.005  # of the embeddings' size, in the same unit; the paper's
    most_classes: int = 128
    work: float = 1000.0  # thousand million multiply-adds

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients are missing, or where the network cannot be cut."""
        images = procedural(subject.shape, _IMAGES, rng=rng)
        require_gradients(subject.classifier, images)
        halves = cut(subject.classifier, images, depth=self.depth)
        rows = min(self.most_classes, max(_FEWEST_CLASSES, passes(subject, work=self.work) // self.steps))
        classes = likeliest(subject)[:rows].sort().values
        shares = self._shares(halves, classes, rng, watch)
        means = _others(np.log(shares + _LEAST_SHARE)).mean(0)
        pairs = np.log(shares * _one_sided(shares) + _LEAST_SHARE)
        found = {
            "anomaly": _above(shares.mean(0) * len(shares) / (len(shares) - 1)),
            "share_index": robust_z(means, floor=_LEAST_SPREAD * float(np.median(np.abs(means)))),
            "pair": _above(pairs.max(0), among=_others(pairs)),
        }
        per_class = {name: _everyone(values, classes, subject.classes) for name, values in found.items()}
        scores = {name: max(values) for name, values in per_class.items()}
        return Evidence(detector=self.card.id, scores=scores, per_class=per_class)

    def _shares(self, halves: Cut, classes: Int[Tensor, " r"], rng: torch.Generator, watch: Watch) -> Shares:
        """Row s: the softmax of the answers to class s's embedding, for each other class; zero on the diagonal."""
        unit = halves.typical.std().clamp_min(_LEAST_SHARE)
        draw = torch.rand if halves.positive else torch.randn
        start = draw(halves.typical.shape[1:], generator=rng)  # one for all classes, so that none is favoured
        adam = RowAdam(start.expand(len(classes), *start.shape), rate=self.rate, betas=_BETAS)
        for step in range(self.steps):
            for rows in torch.arange(len(classes)).split(_AT_ONCE):
                values = adam.values[rows].requires_grad_()
                answers = halves.tail(values * unit)
                (slope,) = torch.autograd.grad(F.cross_entropy(answers, classes[rows], reduction="sum"), values)
                adam.step(rows, slope + self.decay * values.detach())
            if halves.positive:
                adam.values.clamp_(min=0)
            watch.tick((step + 1) / self.steps, f"{len(classes)} classes")
        with torch.no_grad():
            answers = torch.cat([halves.tail(part * unit) for part in adam.values.split(_AT_ONCE)])
        if not answers.isfinite().all():
            raise CannotMeasure("the network's answers to embeddings are not finite numbers")
        shares = answers.double().softmax(1)[:, classes].numpy(force=True)
        return np.asarray(shares * (1 - np.eye(len(shares))))


def _others(matrix: Shares) -> Float[np.ndarray, "_ r"]:
    """The entries off the diagonal, column by column."""
    r = len(matrix)
    kept: np.ndarray = matrix.T[~np.eye(r, dtype=bool)].reshape(r, r - 1).T
    return kept


def _one_sided(shares: Shares) -> Shares:
    """One where only one of two classes shines through the other, zero where both do so equally."""
    larger = np.maximum(np.maximum(shares, shares.T), _LEAST_SHARE)
    return np.asarray(1 - np.minimum(shares, shares.T) / larger)


def _above(values: Values, among: np.ndarray | None = None) -> Values:
    """How far each value lies above the third quartile, in interquartile ranges."""
    first, third = np.quantile(values if among is None else among, (0.25, 0.75))
    return np.asarray((values - third) / max(third - first, _LEAST_SHARE))


def _everyone(values: Values, classes: Int[Tensor, " r"], count: int) -> tuple[float, ...]:
    """One value for each class of the network; a class that was not worked on gets the least of the others."""
    full = np.full(count, values.min())
    full[classes.numpy(force=True)] = values
    return tuple(full.tolist())
