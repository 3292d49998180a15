"""What the networks of one family share: how a name is read, and how a state dict is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

Shapes = Mapping[str, tuple[int, ...]]

_NAME = re.compile(r"(?P<family>[a-z]+)(?P<depth>\d*)-w(?P<width>\d+)")
_IGNORED = "num_batches_tracked"  # bookkeeping of BatchNorm; older checkpoints do without
_WIDEST = 4096  # channels; beyond it a file's shapes are not believed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The measures of one network. `size` is in pixels; only the transformers depend on it."""

    depth: int
    width: int  # channels of the first stage
    classes: int
    channels: int = 3
    size: int = 32


@final
@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that differ in their measures only.

    `stem` and `head` name the first and the last weight, from which width, channels and classes are read.
    `common_depth` is left out of a name; `size_of` reads the image size where the parameters tell it.
    """

    name: str
    make: Callable[[Plan], nn.Module]
    depths: tuple[int, ...]
    widths: tuple[int, ...]  # a representative choice; any other width builds as well
    stem: str
    head: str
    common_depth: int | None = None
    size_of: Callable[[Shapes], int] = lambda _: 32

    def label(self, depth: int, width: int) -> str:
        return f"{self.name}{'' if depth == self.common_depth else depth}-w{width}"

    def labels(self) -> tuple[str, ...]:
        """A representative choice of names."""
        return tuple(self.label(depth, width) for depth in self.depths for width in self.widths)

    def measures(self, name: str) -> tuple[int, int] | None:
        """Depth and width that a name of this family asks for; None for any other name."""
        found = _NAME.fullmatch(name)
        if found is None or found["family"] != self.name:
            return None
        depth = int(found["depth"]) if found["depth"] else self.common_depth
        width = int(found["width"])
        return (depth, width) if depth in self.depths and 0 < width <= _WIDEST else None

    def fitting(self, shapes: Shapes) -> tuple[str, nn.Module] | None:
        """The network of this family that has exactly these parameters and buffers, with its name; None if none has.

        `shapes` maps the names of a state dict to the shapes of its tensors. The weights are left random.
        """
        if not self._plausible(shapes):
            return None
        wanted = _comparable(shapes)
        width, channels = shapes[self.stem][:2]
        for depth in self.depths:
            plan = Plan(
                depth=depth, width=width, classes=shapes[self.head][0], channels=channels, size=self.size_of(shapes)
            )
            if _comparable(_shapes_of(self.make, plan)) == wanted:
                return self.label(depth, width), self.make(plan)
        return None

    def _plausible(self, shapes: Shapes) -> bool:
        stem, head = shapes.get(self.stem, ()), shapes.get(self.head, ())
        return len(stem) == 4 and len(head) == 2 and all(0 < n <= _WIDEST for n in (*stem, *head))


def _shapes_of(make: Callable[[Plan], nn.Module], plan: Plan) -> Shapes:
    """Names and shapes without paying for the memory."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in make(plan).state_dict().items()}


def _comparable(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in shapes.items() if not name.endswith(_IGNORED)}
