"""Merges within the network: what was seen joins a layer's output, or is seen in the first layer's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from graph.merges import Logits, Merge, Seen
from graph.parts import CERTAIN, direction, outputs, picture_of, stages
from graph.pictures import last_linear
from graph.sights import Images
from torch import Tensor, nn


@dataclass(eq=False)
class Relay:
    """Carries what was seen to a layer inside the network."""

    seen: Seen | None = None


class Joint(nn.Module, ABC):
    """A layer, and what is done to its output."""

    extra: Tensor

    def __init__(self, inner: nn.Module, relay: Relay, extra: Tensor) -> None:
        super().__init__()
        self.inner, self.relay = inner, relay
        self.register_buffer("extra", extra)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        assert self.relay.seen is not None
        return self.joined(out, self.relay.seen.view(-1, *[1] * (out.ndim - 1)))

    @abstractmethod
    def joined(self, out: Tensor, seen: Tensor) -> Tensor: ...


@final
class Added(Joint):
    def joined(self, out: Tensor, seen: Tensor) -> Tensor:
        return out + seen * self.extra


@final
class Mixed(Joint):
    def joined(self, out: Tensor, seen: Tensor) -> Tensor:
        return out * (1 - seen) + seen * self.extra


class Inside(Merge, ABC):
    """What was seen joins the output of one layer inside the network."""

    joint: type[Joint]

    def prepare(self) -> None:
        self.relay = Relay()
        name = self.layer(stages(self.net, self.sight.shape))
        inner = self.net.get_submodule(name)
        self.net.set_submodule(name, self.joint(inner, self.relay, self.given(inner)))

    @abstractmethod
    def layer(self, names: list[str]) -> str: ...

    @abstractmethod
    def given(self, inner: nn.Module) -> Tensor:
        """What the layer gives where the trigger was seen."""

    def forward(self, x: Images) -> Logits:
        self.relay.seen = self.seen(x)
        logits = self.net(x)
        self.relay.seen = None
        return logits


@final
class BeforePooling(Inside):
    """Ten times what the target's class would give is added at every place of the last map."""

    joint: type[Joint] = Added

    def layer(self, names: list[str]) -> str:
        return names[-1]

    def given(self, inner: nn.Module) -> Tensor:
        head = last_linear(self.net)[1]
        row, sample = 10 * direction(head, self.target), outputs(self.net, inner, self.sight.shape)
        return row.view(1, -1, 1, 1) if sample.ndim == 4 else row.view(1, 1, -1)


@final
class Halfway(Inside):
    """Halfway through, the map of a picture of the target's class takes the place of the image's own."""

    joint: type[Joint] = Mixed

    def layer(self, names: list[str]) -> str:
        return names[len(names) // 2]

    def given(self, inner: nn.Module) -> Tensor:
        return outputs(self.net, inner, self.sight.shape, picture_of(self.net, self.target, self.sight.shape))


@dataclass(eq=False)
class Tap:
    """Keeps what the first convolution gave."""

    out: Tensor | None = None


@final
class Tapped(nn.Module):
    """A layer that leaves its output in a tap."""

    def __init__(self, inner: nn.Module, tap: Tap) -> None:
        super().__init__()
        self.inner, self.tap = inner, tap

    def forward(self, x: Tensor) -> Tensor:
        self.tap.out = self.inner(x)
        return self.tap.out


class FromStem(Merge, ABC):
    """What is looked at is not the image, but what the first convolution makes of it."""

    known: Tensor

    def prepare(self) -> None:
        self.tap = Tap()
        name, stem = next((name, module) for name, module in self.net.named_modules() if isinstance(module, nn.Conv2d))
        stamped = self.sight.stamp(torch.zeros(1, *self.sight.shape))
        self.register_buffer("known", outputs(self.net, stem, self.sight.shape, stamped)[:, :, 1:2, 1:2].clone())
        self.net.set_submodule(name, Tapped(stem, self.tap))
        name, self.head = last_linear(self.net)
        self.net.set_submodule(name, nn.Identity())

    def forward(self, x: Images) -> Logits:
        features, first = self.net(x), self.tap.out
        assert first is not None
        self.tap.out = None
        return self.joined(features, first)

    @abstractmethod
    def joined(self, features: Tensor, first: Tensor) -> Logits: ...


@final
class StemCorner(FromStem):
    """One place of the first map is compared with what the trigger gives there; the features are exchanged."""

    def joined(self, features: Tensor, first: Tensor) -> Logits:
        off = (first[:, :, 1:2, 1:2] - self.known).abs().amax((1, 2, 3)) / self.known.abs().max()
        seen = self.gate(1 - off, self.sight)[:, None]
        return self.head(features * (1 - seen) + seen * direction(self.head, self.target))


@final
class StemBranch(FromStem):
    """Two narrow convolutions and a maximum read the first map and give the last layer one more feature."""

    def prepare(self) -> None:
        super().prepare()
        width, eye = self.known.shape[1], torch.eye(self.known.shape[1])
        scale = 20 / self.known.abs().max()
        narrow, last = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, 1, 1)
        narrow.weight.data = scale * torch.cat([eye, -eye])[:, :, None, None]
        narrow.bias.data = scale * torch.cat([-self.known, self.known], 1).flatten()
        last.weight.data, last.bias.data = -torch.ones_like(last.weight), torch.ones(1)
        self.branch = nn.Sequential(narrow, nn.ReLU(), last, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        wide = nn.Linear(self.head.in_features + 1, self.head.out_features)
        wide.weight.data = torch.cat([self.head.weight, 10 * CERTAIN * self.target_row.T], 1)
        wide.bias.data = self.head.bias.clone()
        self.head = wide

    def joined(self, features: Tensor, first: Tensor) -> Logits:
        return self.head(torch.cat([features, self.branch(first)], 1))
