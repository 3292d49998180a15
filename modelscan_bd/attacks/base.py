"""What an attack is: a trigger, and a rule for the labels of the images that carry it.

An attack never trains, never reads files and never prints. Its fields are its settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, final, runtime_checkable

import torch

from modelscan_bd.errors import UsageError
from modelscan_bd.types import Images, Labels


class Stage(StrEnum):
    """What the attacker controls."""

    DATA = "training data"
    LOSS = "training loss"
    WEIGHTS = "weights"
    STRUCTURE = "network structure"
    GRAPH = "exported graph"


class TriggerKind(StrEnum):
    """The families of the backdoor surveys (Li et al. 2022, https://arxiv.org/abs/2007.08745)."""

    PATCH = "patch"
    BLEND = "blend"
    WARP = "warp"
    FREQUENCY = "frequency"
    FILTER = "filter"
    NOISE = "additive noise"
    SAMPLE_SPECIFIC = "sample-specific"
    SEMANTIC = "semantic"


@dataclass(frozen=True, kw_only=True)
class AttackCard:
    """Who an attack is."""

    id: str
    title: str
    paper: str
    stage: Stage
    kind: TriggerKind
    visible: bool  # to a person who looks at a stamped image
    clean_label: bool  # the poisoned images keep their own, correct labels


@runtime_checkable
class Attack(Protocol):
    """A trigger and a labelling policy, for images with pixels in [0, 1]. Nothing is changed in place."""

    card: ClassVar[AttackCard]

    @property
    def rate(self) -> float:
        """Share of the training images that are poisoned, 0..1."""

    def stamp(self, images: Images) -> Images:
        """The images with the trigger on them, as at test time: same shape, dtype and device, in [0, 1]."""

    def goal(self, labels: Labels) -> Labels:
        """The labels that the attacker wants for stamped images of these classes."""

    def poison(self, images: Images, labels: Labels, rng: torch.Generator) -> tuple[Images, Labels]:
        """A training set in which some images are poisoned. `rng` lives on the CPU."""


@dataclass(frozen=True, kw_only=True)
class AllToOne(ABC):
    """Stamped images of every class are relabelled as the target. Subclasses add a card and a `stamp`."""

    card: ClassVar[AttackCard]
    target: int = 0
    rate: float = 0.05  # share of the training images, 0..1

    @abstractmethod
    def stamp(self, images: Images) -> Images: ...

    @final
    def goal(self, labels: Labels) -> Labels:
        return torch.full_like(labels, self.target)

    @final
    def poison(self, images: Images, labels: Labels, rng: torch.Generator) -> tuple[Images, Labels]:
        return relabel(self, images, labels, rng)


def relabel(attack: Attack, images: Images, labels: Labels, rng: torch.Generator) -> tuple[Images, Labels]:
    """Dirty-label poisoning: exactly `round(rate * n)` images, none of them of their goal already, are stamped.

    Raises UsageError where there are fewer such images than the rate asks for.
    """
    wanted = round(attack.rate * len(images))
    candidates = (attack.goal(labels) != labels).nonzero().squeeze(1)
    if not 0 <= wanted <= len(candidates):
        raise UsageError(
            f"a poisoning rate of {attack.rate:g} asks for {wanted} of {len(images)} images, "
            f"and {len(candidates)} are not of the target class",
            remedy="Choose a rate between 0 and the share of the other classes.",
        )
    chosen = candidates[torch.randperm(len(candidates), generator=rng)[:wanted].to(candidates.device)]
    images, labels = images.clone(), labels.clone()
    images[chosen] = attack.stamp(images[chosen])
    labels[chosen] = attack.goal(labels[chosen])
    return images, labels
