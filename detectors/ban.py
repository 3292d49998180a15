"""BAN: does noise on the channels make every image one class? A backdoor's channels answer to noise as to a trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from modelscan_bd.activations import Activity, Change, activity, along, altered, few, penultimate
from modelscan_bd.passes import images_per_pass, require_gradients
from modelscan_bd.stats import robust_z
from modelscan_bd.types import Card, Cost, Effort, Evidence, Images, Labels, Logits, Need, Subject, Watch

Noise = Float[Tensor, "2 _"]  # of each channel: on its deviation, and on its mean
Mask = Float[Tensor, " d"]
Shares = Float[Tensor, " k"]

_FAINT = 1e-4  # probabilities below this count as this
_LEAST_SPREAD = 0.5  # of logarithms of probabilities


@final
@dataclass(frozen=True, kw_only=True)
class Ban:
    """Climbs to the noise that costs the network most, then counts how its answers are spread.

    The paper puts the noise on the scale and shift of batch normalisations. Here it is on each channel's spread and
    mean as seen on the probe images, which is the same where there is a normalisation and works where there is none.
    """

    card: ClassVar[Card] = Card(
        id="ban",
        title="Slight noise inside the network turns every image into one class",
        paper="Xu et al., BAN, NeurIPS 2024, https://arxiv.org/abs/2405.19928",
        cost=Cost.SECONDS,
        scores={
            "collapse": "largest share of one class among the answers under noise, benign features masked",
            "noise_gain": "largest growth of a class's mean probability under noise, all features kept, 0 to 1",
            "noise_index": "robust standard deviations of that growth's logarithm above the median class",
        },
        sees="one target class whose channels are easily set off, whatever the trigger looks like",
        blind_to=(
            "backdoors with several target classes. It is weak throughout on small networks: clean ones give way to "
            "noise as well, and the class they fall to is seldom the target"
        ),
        needs=frozenset({Need.GRADIENTS, Need.FEATURES}),
        published=(
            "Its abstract reports a detection rate 9.99 % above that of BTI-DBF on average; no independent figure was "
            "found."
        ),
        effort=Effort.THOROUGH,
    )

    images: int = 64
    strength: float = (
        0.15  # of the noise, as a share of a channel's deviation and mean; at the paper's 0.3 all collapse
    )
    steps: int = 8
    mask_steps: int = 80
    mask_weight: float = 0.75  # of the mask's size against the cross-entropies

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where gradients or a linear last layer are missing."""
        images = few(subject, self.images)
        require_gradients(subject.classifier, images)
        seen, mask = activity(subject), benign_mask(subject, self.mask_steps, self.mask_weight)
        noisy = _Noisy(subject, seen, images)
        noise = self._climb(noisy, rng, watch)
        silence = [torch.zeros_like(part) for part in noise]
        plain, calm = (noisy.answers(each, None).softmax(1).mean(0) for each in (noise, silence))
        growth = plain.clamp_min(_FAINT).log() - calm.clamp_min(_FAINT).log()
        masked = noisy.answers(noise, 1 - mask)
        per_class = {
            "collapse": F.one_hot(masked.argmax(1), subject.classes).float().mean(0),
            "noise_gain": plain - calm,
            "noise_index": torch.from_numpy(robust_z(growth.double().numpy(force=True), floor=_LEAST_SPREAD)),
        }
        return _evidence(self.card.id, per_class)

    def _climb(self, noisy: _Noisy, rng: torch.Generator, watch: Watch) -> list[Noise]:
        """Steps along the signs of the gradient; in sum long enough to cross the whole range."""
        labels = noisy.answers(None, None).argmax(1)
        rate = 2.5 * self.strength / self.steps
        noise = [self.strength * (2 * torch.rand(2, a.layer.channels, generator=rng) - 1) for a in noisy.seen]
        for step in range(self.steps):
            gradients = noisy.gradients(noise, labels)
            noise = [
                (part + rate * gradient.sign()).clamp(-self.strength, self.strength)
                for part, gradient in zip(noise, gradients, strict=True)
            ]
            watch.tick((step + 1) / self.steps, f"noise on {len(noise)} layers")
        return noise


def benign_mask(subject: Subject, steps: int, weight: float) -> Mask:
    """Which features the classes rest on: those that keep the answers, while what is left over loses them."""
    return subject.once(f"benign mask {steps} {weight}", lambda _: _mask(subject, steps, weight))


def _mask(subject: Subject, steps: int, weight: float) -> Mask:
    known, head = penultimate(subject), subject.classifier.head
    assert head is not None
    labels = known.logits.argmax(1)
    raw = torch.zeros(known.features.shape[1])
    first, second = torch.zeros_like(raw), torch.zeros_like(raw)
    for step in range(1, steps + 1):
        raw.requires_grad_()
        mask = raw.sigmoid()
        kept, left = head(mask * known.features), head((1 - mask) * known.features)
        loss = F.cross_entropy(kept, labels) - F.cross_entropy(left, labels) + weight * mask.mean()
        (gradient,) = torch.autograd.grad(loss, raw)
        first, second = first.lerp(gradient, 0.1), second.lerp(gradient.square(), 0.001)
        move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        raw = raw.detach() - 0.1 * move
    return raw.sigmoid()


@final
class _Noisy:
    """The network with noise on its channels."""

    def __init__(self, subject: Subject, seen: tuple[Activity, ...], images: Images) -> None:
        self.classifier, self.seen = subject.classifier, seen
        self.parts = images.split(images_per_pass(subject.shape))

    def answers(self, noise: list[Noise] | None, keep: Mask | None) -> Logits:
        """Logits of all images, from the features times `keep`."""
        with torch.no_grad():
            return torch.cat([self._logits(part, noise, keep) for part in self.parts])

    def gradients(self, noise: list[Noise], labels: Labels) -> list[Noise]:
        """How the noise raises the cross-entropy."""
        sums = [torch.zeros_like(part) for part in noise]
        for images, wanted in zip(self.parts, labels.split(len(self.parts[0])), strict=True):
            leaves = [part.clone().requires_grad_() for part in noise]
            loss = F.cross_entropy(self._logits(images, leaves, None), wanted, reduction="sum")
            found = torch.autograd.grad(loss, leaves, allow_unused=True)
            sums = [total if one is None else total + one for total, one in zip(sums, found, strict=True)]
        return sums

    def _logits(self, images: Images, noise: list[Noise] | None, keep: Mask | None) -> Logits:
        changes = {} if noise is None else {a.layer: _change(a, part) for a, part in zip(self.seen, noise, strict=True)}
        with altered(changes):
            logits: Logits = self.classifier(images) if keep is None else self._masked(images, keep)
        return logits

    def _masked(self, images: Images, keep: Mask) -> Logits:
        assert self.classifier.head is not None
        logits: Logits = self.classifier.head(keep * self.classifier.features(images))
        return logits


def _change(seen: Activity, noise: Noise) -> Change:
    """(1 + noise) times the deviation from the mean, and (1 + noise) times the mean."""

    def change(out: Tensor) -> Tensor:
        mean, spread, shift = (along(seen.layer, values, out) for values in (seen.mean, *noise))
        return out + spread * (out - mean) + shift * mean

    return change


def _evidence(detector: str, per_class: dict[str, Shares]) -> Evidence:
    values = {name: tuple(shares.double().tolist()) for name, shares in per_class.items()}
    return Evidence(detector=detector, scores={name: max(v) for name, v in values.items()}, per_class=values)
