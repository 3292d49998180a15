"""What the engine knows, at load time, of a tensor that flows through the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from modelscan_bd.onnx_engine.ops.indexing import DATA_DEPENDENT
from modelscan_bd.onnx_engine.ops.kinds import Kernel, Kind, signature

SHAPE_ONLY = frozenset({"Shape", "Size"})


@dataclass(frozen=True, kw_only=True)
class Value:
    """One tensor, as seen at each of a few batch sizes, the witnesses.

    `known` are its contents, where they do not depend on the picture: the same object at every witness is a constant,
    different ones are shape arithmetic with the batch in it. `shapes` are empty (meta) tensors; None: only
    the running net can tell. `node` computes it in the torch graph; None: a constant nobody asked for yet.
    """

    name: str
    known: tuple[Tensor, ...] | None = None
    shapes: tuple[Tensor, ...] | None = None
    node: fx.Node | None = None

    @property
    def is_constant(self) -> bool:
        return self.known is not None and self.node is None

    def meta(self, witness: int) -> Tensor | None:
        if self.shapes is not None:
            return self.shapes[witness]
        return None if self.known is None else self.known[witness].to("meta")

    @property
    def dtype(self) -> torch.dtype | None:
        seen = self.meta(0)
        return None if seen is None else seen.dtype

    @property
    def size(self) -> torch.Size | None:
        """The shape at the first witness."""
        seen = self.meta(0)
        return None if seen is None else seen.shape


def constant(name: str, tensor: Tensor, witnesses: int) -> Value:
    return Value(name=name, known=(tensor,) * witnesses)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A kernel with its operands: can be run on contents, on shapes, or written into the torch graph."""

    op: str
    name: str
    kernel: Kernel
    operands: tuple[Value | None, ...]
    attributes: Mapping[str, Any]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        wanted = signature(self.kernel)
        beyond = len(self.operands) - len(wanted.inputs)
        return wanted.inputs[: len(self.operands)] + (wanted.rest or Kind.TENSOR,) * max(beyond, 0)

    @property
    def returns_tuple(self) -> bool:
        """Split does even where it makes one part only."""
        return self.op == "Split"

    @property
    def is_constant(self) -> bool:
        return all(v is None or v.is_constant for v in self.operands)

    @property
    def is_known(self) -> bool:
        if self.op in SHAPE_ONLY:
            return all(v is not None and v.meta(0) is not None for v in self.operands)
        return all(v is None or v.known is not None for v in self.operands)

    @property
    def has_shapes(self) -> bool:
        """Whether the shapes of the results follow from what is known."""
        return self.op not in DATA_DEPENDENT and all(
            v is None or (v.known is not None if kind is not Kind.TENSOR else v.meta(0) is not None)
            for kind, v in zip(self.kinds, self.operands, strict=True)
        )

    def contents(self, witness: int) -> tuple[Tensor, ...]:
        shape_only = self.op in SHAPE_ONLY
        return self._run([self._content(k, v, witness, meta=shape_only) for k, v in self._pairs()])

    def shapes(self, witness: int) -> tuple[Tensor, ...]:
        with torch.device("meta"):
            return self._run([self._content(k, v, witness, meta=True) for k, v in self._pairs()])

    def written(self, write: Callable[[Kind, Value], Any]) -> tuple[Any, ...]:
        """The operands as arguments of a node in the torch graph."""
        return tuple(None if value is None else write(kind, value) for kind, value in self._pairs())

    def _pairs(self) -> Sequence[tuple[Kind, Value | None]]:
        return list(zip(self.kinds, self.operands, strict=True))

    def _run(self, arguments: list[object]) -> tuple[Tensor, ...]:
        result = self.kernel(*arguments, **self.attributes)
        return result if isinstance(result, tuple) else (result,)

    def _content(self, kind: Kind, value: Value | None, witness: int, *, meta: bool) -> object:
        if value is None:
            return None
        if kind is Kind.TENSOR:
            return value.meta(witness) if meta else (value.known or ())[witness]
        assert value.known is not None
        numbers = tuple(value.known[witness].flatten().tolist())
        return numbers if kind is Kind.NUMBERS else numbers[0]
