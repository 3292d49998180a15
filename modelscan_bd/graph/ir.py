"""The nouns of the graph audit: nodes by the part they play, in the order in which they are computed."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias, final

from numpy.typing import NDArray

from modelscan_bd.graph.ancestry import Ancestry
from modelscan_bd.graph.sets import Bits, bits, members, union

Values: TypeAlias = NDArray[Any]


class Role(StrEnum):
    """What a node does to the values that reach it."""

    IMAGE = "image"  # an input of the model
    LAYER = "layer"  # a weighted sum: convolution, matrix product
    MOVE = "move"  # the same numbers elsewhere: reshape, slice, resize
    POINT = "point"  # each number by itself, or numbers in pairs: ReLU, addition, normalisation
    POOL = "pool"  # many numbers into one: mean, maximum, softmax
    COMPARE = "compare"
    LOGIC = "logic"
    SELECT = "select"  # one value or another: Where, If
    INDEX = "index"  # a place instead of a value, or values by their place: ArgMax, TopK, Gather
    ROUND = "round"
    QUANTISE = "quantise"
    BITS = "bits"  # of integers: shifts, remainders, exclusive or
    LOOP = "loop"
    CHANCE = "chance"
    SHAPE = "shape"  # tells of sizes, not of values
    OTHER = "other"


@final
@dataclass(frozen=True, kw_only=True)
class Constant:
    """What does not depend on the image. Of large ones only the size is kept, so `values` may be missing."""

    shape: tuple[int, ...]
    values: Values | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@final
@dataclass(frozen=True, kw_only=True)
class Node:
    """`inputs` are numbers of nodes whose values it takes; the rest of what it takes are constants."""

    name: str
    op: str
    role: Role
    inputs: tuple[int, ...] = ()
    constants: tuple[Constant, ...] = ()

    @property
    def weights(self) -> int:
        """Numbers that the file brings along for this node."""
        return sum(constant.elements for constant in self.constants)

    @property
    def is_layer(self) -> bool:
        return self.role is Role.LAYER and any(constant.elements > 1 for constant in self.constants)

    @property
    def joins(self) -> bool:
        return len(set(self.inputs)) > 1


@final
@dataclass(frozen=True)
class Graph:
    """Nodes in the order of computation: every input of a node stands before it. `outputs` are numbers of nodes."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    @cached_property
    def behind(self) -> tuple[Bits, ...]:
        """Of each node: itself and all that its value depends on."""
        known: list[Bits] = []
        for number, node in enumerate(self.nodes):
            known.append(bits((number,)) | union(known[i] for i in node.inputs))
        return tuple(known)

    @cached_property
    def ahead(self) -> tuple[Bits, ...]:
        """Of each node: itself and all that depends on its value."""
        known = [bits((number,)) for number in range(len(self.nodes))]
        for number in range(len(self.nodes) - 1, -1, -1):
            for i in self.nodes[number].inputs:
                known[i] |= known[number]
        return tuple(known)

    @cached_property
    def living(self) -> Bits:
        """Nodes on a way from the image to an output."""
        images = union(self.ahead[n] for n, node in enumerate(self.nodes) if node.role is Role.IMAGE)
        return images & union(self.behind[number] for number in self.outputs)

    @cached_property
    def dominators(self) -> tuple[int, ...]:
        """Of each node, the last node before it that every way from the image passes; -1: there is none.

        Cooper, Harvey, Kennedy 2001; one pass is enough where nothing runs in circles.
        """
        tree = Ancestry()
        for node in self.nodes:
            tree.add(functools.reduce(tree.meeting, node.inputs) if node.inputs else -1)
        return tree.parents

    @cached_property
    def takers(self) -> tuple[int, ...]:
        """Of each node, how many living ones take its value."""
        count = [0] * len(self.nodes)
        for number in members(self.living):
            for given in set(self.nodes[number].inputs):
                count[given] += 1
        return tuple(count)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Of each node, how many layers the longest way from the image to it has, itself included."""
        known: list[int] = []
        for node in self.nodes:
            known.append(max((known[i] for i in node.inputs), default=0) + node.is_layer)
        return tuple(known)

    @cached_property
    def depth(self) -> int:
        """Layers on the longest way."""
        return max(self.levels, default=0)
