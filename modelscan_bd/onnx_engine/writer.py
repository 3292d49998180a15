"""Writes the torch graph: layers, kernels, and the constants and sizes that they are given."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Sequence
from typing import final

from torch import fx, nn

from modelscan_bd.onnx_engine.batch import share_of_batch
from modelscan_bd.onnx_engine.modules import BUILDERS
from modelscan_bd.onnx_engine.ops.kinds import Kind, Number, numbers_of, scalar_of
from modelscan_bd.onnx_engine.values import Call, Value


@final
class Writer:
    """A torch.fx graph in the making. `sizes` are the batch sizes at which values were worked out."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._graph = fx.Graph()
        self._root = nn.Module()
        self._constants: dict[int, fx.Node] = {}
        self._multiples: dict[tuple[int, int, int], fx.Node] = {}
        self._first: fx.Node | None = None

    def placeholder(self, name: str) -> fx.Node:
        node = self._graph.placeholder(identifier(name, "input"))
        self._first = self._first or node
        return node

    def call(self, call: Call, *, label: str, outputs: int) -> list[fx.Node]:
        """One node per output: a layer where torch has one for the call, else the kernel."""
        name = identifier(label, call.op.lower())
        layer, data = self._layer(call), call.operands[0] if call.operands else None
        if layer is not None and data is not None:
            path = _free_name(self._root, name)
            self._root.add_module(path, layer)
            return [self._graph.create_node("call_module", path, (self.tensor(data),), {}, path)]
        arguments = call.written(self._operand)
        result = self._graph.create_node("call_function", call.kernel, arguments, dict(call.attributes), name)
        if outputs == 1 and not call.returns_tuple:
            return [result]
        return [self._graph.call_function(operator.getitem, (result, i)) for i in range(outputs)]

    def tensor(self, value: Value) -> fx.Node:
        """The node that holds a value; constants become buffers when first asked for."""
        if value.node is not None:
            return value.node
        assert value.known is not None
        key = id(value.known[0])  # lives as long as the buffer registered here
        if key not in self._constants:
            path = _free_name(self._root, identifier(value.name, "constant"))
            self._root.register_buffer(path, value.known[0])
            self._constants[key] = self._graph.get_attr(path)
        return self._constants[key]

    def module(self, outputs: Sequence[Value]) -> fx.GraphModule:
        """What computes `outputs` and nothing else: one tensor, or several as a tuple. May be called again."""
        results = [self.tensor(value) for value in outputs]
        graph, twins = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.graph_copy(self._graph, twins)
        graph.output(twins[results[0]] if len(results) == 1 else tuple(twins[r] for r in results))
        for node in reversed(graph.nodes):
            if not node.users and node.op not in ("placeholder", "output"):
                graph.erase_node(node)
        return fx.GraphModule(self._root, graph, "Converted").eval()

    def _layer(self, call: Call) -> nn.Module | None:
        builder, data, rest = BUILDERS.get(call.op), next(iter(call.operands), None), call.operands[1:]
        if builder is None or data is None or data.is_constant or call.attributes.get("outputs", 1) != 1:
            return None
        if not all(v is None or v.is_constant for v in rest):
            return None
        return builder([None if v is None or v.known is None else v.known[0] for v in rest], call.attributes, data.size)

    # ------------------------------------------------------------ numbers

    def _operand(self, kind: Kind, value: Value) -> object:
        if kind is Kind.TENSOR:
            return self.tensor(value)
        numbers = self._numbers(value)
        if numbers is None:
            read = scalar_of if kind is Kind.SCALAR else numbers_of
            return self._graph.call_function(read, (self.tensor(value),))
        return numbers[0] if kind is Kind.SCALAR else numbers

    def _numbers(self, value: Value) -> tuple[object, ...] | None:
        """Python numbers, some of them multiples of the batch; None where only the running net can tell."""
        if value.known is None:
            return None
        columns = list(zip(*(k.flatten().tolist() for k in value.known), strict=True))
        shares = [share_of_batch(column, self._sizes) for column in columns]
        if any(share is None for share in shares):
            return None
        return tuple(self._times_batch(*share) for share in shares if share is not None)

    def _times_batch(self, factor: int, divisor: int, offset: Number) -> object:
        if factor == 0:
            return offset
        key = (factor, divisor, int(offset))
        if key not in self._multiples:
            assert self._first is not None
            size: fx.Node = self._graph.call_method("size", (self._first, 0))
            size = size if factor == 1 else self._graph.call_function(operator.mul, (size, factor))
            size = size if divisor == 1 else self._graph.call_function(operator.floordiv, (size, divisor))
            self._multiples[key] = size if offset == 0 else self._graph.call_function(operator.add, (size, key[2]))
        return self._multiples[key]


def identifier(name: str, otherwise: str) -> str:
    """A name of the file as a Python identifier that can do no harm in generated code."""
    word = re.sub(r"[^0-9A-Za-z]+", "_", name)[:80].strip("_") or otherwise
    word = f"n{word}" if word[0].isdigit() else word
    return f"{word}_" if keyword.iskeyword(word) else word


def _free_name(root: nn.Module, name: str) -> str:
    """`name`, or with a number where `root` or a GraphModule has such an attribute already."""
    taken, candidate = 0, name
    while hasattr(root, candidate) or hasattr(fx.GraphModule, candidate) or candidate in ("graph", "code"):
        taken += 1
        candidate = f"{name}_{taken}"
    return candidate
