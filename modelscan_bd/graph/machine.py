"""Runs a trace, whole or in part, with values put in by hand, and with steps smoothed so that gradients can follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from modelscan_bd.graph.from_torch import Trace, operator
from modelscan_bd.graph.ir import Node, Role
from modelscan_bd.graph.sets import flags
from modelscan_bd.graph.soft import SOFT
from modelscan_bd.types import Images

_LOOK = 4  # multiplications that take as long as reading a number and writing another
_BACK_AND_FORTH = 3  # runs that take as long as one with its gradient


@final
class Machine:
    """`trace` is of a batch of `size` images; it takes no other. Nodes are told by their numbers in the graph."""

    def __init__(self, trace: Trace, size: int) -> None:
        self.trace, self.size = trace, size
        self.work = 0.0  # done so far, in multiplications or what takes as long
        self.numbers = {place: number for number, place in enumerate(trace.places)}
        self._fixed = self._constants()
        self._costs = np.array([_cost(n, p) for n, p in zip(trace.graph.nodes, trace.places, strict=True)])

    @torch.no_grad()
    def value(self, images: Images, node: int, pinned: Mapping[int, Tensor] | None = None) -> Tensor:
        """What the node gives for these images, where those in `pinned` give that instead of their own."""
        return self._run(images, node, pinned or {}, None)

    def smooth(self, images: Images, node: int, temperature: float) -> Tensor:
        """The same, differentiable: comparisons and the like are smoothed, the less the colder."""
        return self._run(images, node, {}, temperature)

    def cost(self, node: int) -> float:
        """Of one run up to the node, in multiplications."""
        return float(self._costs @ flags(self.trace.graph.behind[node], len(self._costs)))

    def can_be_held(self, node: int) -> bool:
        """Whether the node gives one tensor that is not the image itself."""
        place = self.trace.places[node]
        return self.trace.graph.nodes[node].role is not Role.IMAGE and isinstance(place.meta.get("val"), Tensor)

    def fixed(self, place: Any) -> Tensor | None:
        """What a node that does not depend on the images gives; None for one that does."""
        value = self._fixed.get(place) if isinstance(place, fx.Node) else None
        return value if isinstance(value, Tensor) else None

    def _run(self, images: Images, node: int, pinned: Mapping[int, Tensor], temperature: float | None) -> Tensor:
        graph, known = self.trace.graph, dict[fx.Node, Any]()
        needed = graph.behind[node]
        self.work += self.cost(node) * (1 if temperature is None else _BACK_AND_FORTH)
        for number, place in enumerate(self.trace.places[: node + 1]):
            if number in pinned:
                known[place] = pinned[number]
            elif needed >> number & 1:
                known[place] = (
                    images if graph.nodes[number].role is Role.IMAGE else self._call(place, known, temperature)
                )
        result: Tensor = known[self.trace.places[node]]
        return result

    def _call(self, place: fx.Node, known: Mapping[fx.Node, Any], temperature: float | None) -> Any:
        args, kwargs = tree_map(
            lambda one: known.get(one, self._fixed.get(one)) if isinstance(one, fx.Node) else one,
            (list(place.args), dict(place.kwargs)),
        )
        soft = SOFT.get(operator(place)) if temperature is not None else None
        if soft is not None and temperature is not None:
            return soft(temperature, *args, **kwargs)
        assert callable(place.target)
        return place.target(*args, **kwargs)

    @torch.no_grad()
    def _constants(self) -> dict[fx.Node, Any]:
        """What does not depend on the images, computed once."""
        fixed: dict[fx.Node, Any] = {}
        self._fixed = fixed
        for place in self.trace.module.graph.nodes:
            if place.op == "get_attr":
                held = getattr(self.trace.module, str(place.target))
                fixed[place] = held.detach() if isinstance(held, Tensor) else held
            elif place.op == "call_function" and place not in self.numbers:
                fixed[place] = self._call(place, {}, None)
        return fixed


def _cost(node: Node, place: fx.Node) -> float:
    """Roughly: a layer multiplies each of its numbers with all weights of one output, any other step looks at them."""
    size = shape(place)
    numbers = math.prod(size)
    if not node.is_layer:
        return float(_LOOK * numbers)
    outputs = size[1] if len(size) == 4 else size[-1]
    return numbers * max(node.weights / max(outputs, 1), 1.0)


def shape(place: fx.Node) -> tuple[int, ...]:
    """Of what a node gives, or of the first of several things."""
    value = place.meta.get("val")
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return tuple(value.shape) if isinstance(value, Tensor) else ()
