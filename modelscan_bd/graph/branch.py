"""One branch of a network that can be run: what it gives, what it does to the answers, whether it sleeps."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from modelscan_bd.graph.machine import Machine
from modelscan_bd.types import Images, Labels, Logits

_SAME = 0.05  # of what tells the images apart: so little may the branch matter while it sleeps
_FAR = 2.0  # times as far from the middle as any image: so far has a value moved


@final
class Branch:
    """Told by the node through which it joins, `entry`, and the images on which it should sleep.

    `column`: of that node's value, the branch is this feature alone.
    """

    def __init__(self, machine: Machine, entry: int, images: Images, column: int | None = None) -> None:
        self.machine, self.entry, self.images, self.column = machine, entry, images, column
        self.output = machine.trace.graph.outputs[0]
        self.rest = self.value(images)
        self.logits: Logits = machine.value(images, self.output)
        self.single = self.rest.ndim > 0 and len(self.rest) == len(images)  # one value for each image

    @property
    def name(self) -> str:
        return self.machine.trace.graph.nodes[self.entry].name

    def value(self, images: Images) -> Tensor:
        return self._cut(self.machine.value(images, self.entry))

    def gain(self, images: Images, temperature: float) -> Float[Tensor, " n"]:
        """Of each image, the sum of what the branch gives, smoothed so that a gradient can follow."""
        value = self._cut(self.machine.smooth(images, self.entry, temperature)).float()
        return value.reshape(len(images), -1).sum(1) if self.single else value.sum().expand(len(images))

    def answers(self, images: Images, value: Tensor) -> Logits:
        """Of images in whose run the branch gives this value."""
        if self.column is not None:
            whole = self.machine.value(images, self.entry).clone()
            whole[:, self.column] = value
            value = whole
        logits: Logits = self.machine.value(images, self.output, {self.entry: value})
        return logits

    def labels(self, images: Images) -> Labels:
        """Of images as they are."""
        return self.machine.value(images, self.output).argmax(1)

    def asleep(self) -> bool:
        """Whether the images may exchange the branch's values and keep their labels, and hardly a probability moves."""
        other = self.rest.roll(1, 0) if self.single else self.rest
        exchanged, usual = self.answers(self.images, other).softmax(1), self.logits.softmax(1)
        moved, spread = (exchanged - usual).abs().amax(), (usual.amax(0) - usual.amin(0)).amax()
        return bool(moved <= _SAME * spread) and bool((exchanged.argmax(1) == usual.argmax(1)).all())

    def farthest(self, pictures: Images) -> tuple[Float[Tensor, "c h w"], Tensor] | None:
        """The picture whose value is farthest from rest, and that value for all images; None where none has moved."""
        value = self.value(pictures)
        if not self.single:
            return None if torch.equal(value, self.rest) else (pictures[0], value)
        far, usual = self._distance(value), self._distance(self.rest).max()
        best = int(far.argmax())
        moved = bool(far[best] > _FAR * usual + 1e-9)
        return (pictures[best], value[best : best + 1].expand_as(value)) if moved else None

    def _distance(self, value: Tensor) -> Float[Tensor, " n"]:
        """From the middle of what the images give; without end for what is no number."""
        apart = value.float() - self.rest.float().mean(0)
        far: Tensor = apart.reshape(len(value), -1).norm(dim=1)
        return far.nan_to_num(float("inf"))

    def _cut(self, value: Tensor) -> Tensor:
        return value if self.column is None else value.select(1, self.column)
