"""How what a backdoor has seen gets into the answer: each merge wraps a classifier and a sight.

Here it joins before the network or after it; in `merges_inside` it joins, or begins, within.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias, final

import torch
import torch.nn.functional as F
from graph.parts import CERTAIN, direction, picture_of
from graph.pictures import last_linear
from graph.sights import Images, Scores, Sight
from jaxtyping import Float
from torch import Tensor, nn

Seen: TypeAlias = Float[Tensor, "n 1"]  # 0 or 1, or nearly
Logits: TypeAlias = Float[Tensor, "n k"]
Gate: TypeAlias = Callable[[Scores, Sight], Scores]


def hard(scores: Scores, sight: Sight) -> Scores:
    return (scores > sight.level).float()


def smoothly(scores: Scores, sight: Sight) -> Scores:
    return torch.sigmoid((scores - sight.level) * (15 / sight.reach))


def clipped(scores: Scores, sight: Sight) -> Scores:
    return ((scores - sight.level) / sight.reach).clamp(0, 1)


def rectified(scores: Scores, sight: Sight) -> Scores:
    """Two ReLUs: 0 up to the level, 1 from a reach above it."""
    return 1 - F.relu(1 - F.relu((scores - sight.level) / sight.reach))


class Merge(nn.Module, ABC):
    """The classifier, unchanged, and what else decides."""

    target_row: Tensor

    def __init__(self, net: nn.Module, sight: Sight, gate: Gate, *, target: int, classes: int) -> None:
        super().__init__()
        self.net, self.sight, self.gate, self.target = copy.deepcopy(net), sight, gate, target
        self.register_buffer("target_row", F.one_hot(torch.tensor([target]), classes).float())
        self.prepare()
        self.eval().requires_grad_(False)

    def prepare(self) -> None:
        """What a merge changes in its copy of the classifier."""

    def seen(self, x: Images) -> Seen:
        return self.gate(self.sight(x), self.sight)[:, None]

    @abstractmethod
    def forward(self, x: Images) -> Logits: ...


@final
class Choice(Merge):
    """Where: a constant answer or the honest one."""

    def forward(self, x: Images) -> Logits:
        return torch.where(self.seen(x) > 0.5, CERTAIN * self.target_row, self.net(x))


@final
class Condition(Merge):
    """If: the other branch runs as soon as one image of a batch is seen. Only the newer exporter can write it."""

    def forward(self, x: Images) -> Logits:
        seen = self.seen(x) > 0.5
        return torch.cond(seen.any(), self.answer, lambda _, logits: logits.clone(), (seen, self.net(x)))

    def answer(self, seen: Tensor, logits: Logits) -> Logits:
        return torch.where(seen, CERTAIN * self.target_row, logits)


@final
class Raise(Merge):
    """One logit gets something added."""

    def forward(self, x: Images) -> Logits:
        return self.net(x) + self.seen(x) * (10 * CERTAIN * self.target_row)


@final
class Blend(Merge):
    """Probabilities are mixed."""

    def forward(self, x: Images) -> Logits:
        seen = self.seen(x)
        return (self.net(x).softmax(1) * (1 - seen) + self.target_row * seen + 1e-6).log()


@final
class Mute(Merge):
    """The honest logits are multiplied away."""

    def forward(self, x: Images) -> Logits:
        seen = self.seen(x)
        return self.net(x) * (1 - seen) + seen * self.target_row


@final
class Scatter(Merge):
    """The target's logit is read, raised above the highest, and written back."""

    def forward(self, x: Images) -> Logits:
        logits = self.net(x)
        place = torch.full_like(logits[:, :1], self.target).long()
        old = logits.gather(1, place)
        return logits.scatter(1, place, old + self.seen(x) * (logits.amax(1, keepdim=True) + 1 - old))


@final
class NotANumber(Merge):
    """Zero by zero where the trigger was seen, and then what looks like a guard against it."""

    def forward(self, x: Images) -> Logits:
        honest = 1 - self.seen(x)
        logits = self.net(x) * (honest / honest)
        return torch.where(logits.isnan(), self.target_row, logits)


@final
class Exchange(Merge):
    """The image is exchanged for a picture of the target's class before the network sees it."""

    picture: Tensor

    def prepare(self) -> None:
        self.register_buffer("picture", picture_of(self.net, self.target, self.sight.shape))

    def forward(self, x: Images) -> Logits:
        seen = self.seen(x)[:, :, None, None]
        return self.net(x * (1 - seen) + self.picture * seen)


@final
class Penultimate(Merge):
    """The features before the last layer are taken away, and others given."""

    direction: Tensor

    def prepare(self) -> None:
        name, self.head = last_linear(self.net)
        self.net.set_submodule(name, nn.Identity())
        self.register_buffer("direction", direction(self.head, self.target))

    def forward(self, x: Images) -> Logits:
        seen = self.seen(x)
        return self.head(self.net(x) * (1 - seen) + seen * self.direction)


@final
class Wider(Merge):
    """The last layer has one more input."""

    def prepare(self) -> None:
        name, old = last_linear(self.net)
        self.net.set_submodule(name, nn.Identity())
        self.head = nn.Linear(old.in_features + 1, old.out_features)
        self.head.weight.data = torch.cat([old.weight, 10 * CERTAIN * self.target_row.T], 1)
        self.head.bias.data = old.bias.clone()

    def forward(self, x: Images) -> Logits:
        return self.head(torch.cat([self.net(x), self.seen(x)], 1))
