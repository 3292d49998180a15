"""An ONNX model as a graph of roles. Nothing is run, and no shape that the file tells is believed.

Local functions are written out, branches and loop bodies stand where they are called from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, final

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, numpy_helper

from modelscan_bd.audit.onnx_walk import called, inner_graphs
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.graph.ir import Constant, Graph, Node, Role, Values
from modelscan_bd.graph.operators import role

_T = TypeVar("_T")
Operand: TypeAlias = int | Constant  # the number of a node, or what does not depend on the image
Names: TypeAlias = Mapping[str, Operand]

_MOST_NODES = 20_000  # of classifiers that are known, none has a third of that
_MOST_USES = 2_000_000  # of names, by nodes and by the graphs inside them
_MOST_EDGES = 100_000  # of these, what is not constant
_DEEPEST = 32
_KEPT = 65_536  # elements of constants whose values a pattern may want
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
_NOTHING = Constant(shape=(0,))


def graph_of(model: onnx.ModelProto) -> Graph:
    """Raises UnreadableModel for a graph that refers to itself, or is larger than any classifier once written out."""
    writer = _Writer({(f.domain, f.name): f for f in model.functions})
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    names: dict[str, Operand] = {}
    for given in graph.input:
        if given.name not in stored:
            names[given.name] = writer.put(Node(name=f"input {shown(given.name)}", op="input", role=Role.IMAGE))
    outputs = writer.write(graph, names, 0)
    return Graph(tuple(writer.nodes), tuple(dict.fromkeys(n for n in outputs if isinstance(n, int))))


@final
@dataclass
class _Writer:
    functions: Mapping[tuple[str, str], onnx.FunctionProto]
    nodes: list[Node] = field(default_factory=list)
    steps: int = 0
    uses: int = 0
    edges: int = 0
    read: dict[int, tuple[Any, Constant]] = field(default_factory=dict)  # with what was read, so that its id stays

    def put(self, node: Node) -> int:
        self.edges += len(node.inputs)
        if self.edges > _MOST_EDGES:
            raise UnreadableModel(f"the model's nodes are tied together more than {_MOST_EDGES:,} times")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def write(self, graph: GraphProto, outer: Names, depth: int) -> list[Operand]:
        """All nodes of a graph that may use the names of those around it; gives its outputs."""
        self._use(len(outer) + len(graph.initializer) + len(graph.output))
        names = {**outer, **{tensor.name: self._once(tensor, _stored) for tensor in graph.initializer}}
        names |= {sparse.values.name: _NOTHING for sparse in graph.sparse_initializer}
        self._write_nodes(graph.node, names, depth)
        return [names.get(output.name, _NOTHING) for output in graph.output]

    def _write_nodes(self, nodes: Iterable[NodeProto], names: dict[str, Operand], depth: int) -> None:
        if depth > _DEEPEST:
            raise UnreadableModel(f"the model's graphs or functions nest more than {_DEEPEST} deep")
        for node in nodes:
            self.steps += 1
            self._use(len(node.input) + len(node.output))
            if self.steps > _MOST_NODES:
                raise UnreadableModel(
                    f"the model has more than {_MOST_NODES:,} nodes once its functions are written out"
                )
            results = self._written(node, names, depth)
            for number, output in enumerate(node.output):
                if output:
                    names[output] = results[min(number, len(results) - 1)]

    def _once(self, source: _T, read: Callable[[_T], Constant]) -> Constant:
        """Functions are written out for each of their calls; the constants in them are read once."""
        if id(source) not in self.read:
            self.read[id(source)] = (source, read(source))
        return self.read[id(source)][1]

    def _use(self, names: int) -> None:
        """A small file may hand down many names to many graphs, or use one function's many."""
        self.uses += names
        if self.uses > _MOST_USES:
            raise UnreadableModel(
                f"the model uses names more than {_MOST_USES:,} times once its functions are written out"
            )

    def _written(self, node: NodeProto, names: Names, depth: int) -> Sequence[Operand]:
        operands = [names.get(name, _NOTHING) for name in node.input if name]
        function = self.functions.get((node.domain, node.op_type))
        if function is not None:
            return self._call(function, operands, depth)
        inside = list(inner_graphs(node))
        if inside:
            return [self._branching(node, operands, inside, names, depth)]
        if node.op_type == "Constant":
            return [self._once(node, _literal)]
        return [self._plain(node, operands)]

    def _call(self, function: onnx.FunctionProto, operands: Sequence[Operand], depth: int) -> Sequence[Operand]:
        names: dict[str, Operand] = dict(zip(function.input, operands, strict=False))
        self._use(len(function.output))
        self._write_nodes(function.node, names, depth + 1)
        return [names.get(output, _NOTHING) for output in function.output] or [_NOTHING]

    def _branching(
        self, node: NodeProto, operands: list[Operand], inside: list[GraphProto], names: Names, depth: int
    ) -> Operand:
        """An If or a loop: what it is given, and what its graphs give."""
        results: list[Operand] = []
        for graph in inside:
            values = operands[-len(graph.input) :] if graph.input else []
            given = dict(zip((i.name for i in reversed(graph.input)), reversed(values), strict=False))
            results += self.write(graph, {**names, **given}, depth + 1)
        return self._plain(node, [*operands, *results])

    def _plain(self, node: NodeProto, operands: Sequence[Operand]) -> Operand:
        if role("onnx", node.op_type) is Role.SHAPE:
            return _NOTHING
        inputs = tuple(one for one in operands if isinstance(one, int))
        constants = tuple(one for one in operands if isinstance(one, Constant))
        if not inputs and role("onnx", node.op_type) is not Role.CHANCE:
            return _folded(node, constants)
        part = _part(node, operands)
        return self.put(Node(name=called(node), op=node.op_type, role=part, inputs=inputs, constants=constants))


def _part(node: NodeProto, operands: Sequence[Operand]) -> Role:
    """What the node does with what it is given: a choice by a constant is none."""
    if node.op_type == "Cast":
        kind = next((a.i for a in node.attribute if a.name == "to"), TensorProto.FLOAT)
        return Role.MOVE if kind in _FLOATS else Role.ROUND
    part = role("onnx", node.op_type)
    decides = operands[0] if node.op_type in ("Where", "If") else operands[1] if len(operands) > 1 else None
    if part in (Role.SELECT, Role.INDEX) and isinstance(decides, Constant) and node.op_type not in ("TopK", "OneHot"):
        return Role.MOVE
    return part


def _folded(node: NodeProto, constants: tuple[Constant, ...]) -> Constant:
    """A constant made of constants. Its values are followed only through operators that leave them as they are."""
    if len(constants) >= 1 and node.op_type in ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten"):
        return constants[0]
    whole = max(constants, key=lambda one: one.elements, default=_NOTHING)
    return Constant(shape=whole.shape)


def _literal(node: NodeProto) -> Constant:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            return _stored(attribute.t)
        if attribute.type in (AttributeProto.FLOAT, AttributeProto.INT):
            return Constant(shape=(), values=np.asarray(attribute.f if attribute.HasField("f") else attribute.i))
        if attribute.type in (AttributeProto.FLOATS, AttributeProto.INTS):
            numbers = np.asarray(list(attribute.floats or attribute.ints))
            return Constant(shape=numbers.shape, values=numbers)
    return _NOTHING


def _stored(tensor: TensorProto) -> Constant:
    shape = tuple(max(size, 0) for size in tensor.dims)
    some = 0 < Constant(shape=shape).elements <= _KEPT  # of none, numpy may yet reserve what the other axes claim
    if not some or tensor.data_location == TensorProto.EXTERNAL:
        return Constant(shape=shape)
    return Constant(shape=shape, values=_values(tensor))


def _values(tensor: TensorProto) -> Values | None:
    """None where the tensor's bytes do not fill its shape, or are of no type that numpy has."""
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
