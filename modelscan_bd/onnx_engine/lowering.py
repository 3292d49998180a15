"""From an ONNX graph at the engine's opset to a torch.fx GraphModule."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, final

import onnx
import torch
from onnx import helper
from torch import Tensor, fx, nn

from modelscan_bd.errors import BdscanError, UnreadableModel, UnsupportedModel
from modelscan_bd.onnx_engine.batch import Batch, relaxed, share_of_batch
from modelscan_bd.onnx_engine.composites import body_of
from modelscan_bd.onnx_engine.limits import Limits, TooMuch
from modelscan_bd.onnx_engine.modules import BUILDERS
from modelscan_bd.onnx_engine.ops import OPERATORS
from modelscan_bd.onnx_engine.ops.kinds import Kind, numbers_of, scalar_of, signature
from modelscan_bd.onnx_engine.simplify import is_alias, simplified
from modelscan_bd.onnx_engine.tensors import attributes, to_tensor
from modelscan_bd.onnx_engine.values import Call, Value, constant

_SHAPE_ARITHMETIC = 4096  # elements: more than that is data, and is left to the running net


@final
class Lowering:
    """Walks the nodes in order. What does not depend on the picture is computed now; the rest becomes torch nodes."""

    def __init__(
        self, graph: onnx.GraphProto, weights: Mapping[str, Tensor], batch: Batch, opset: int, limits: Limits
    ) -> None:
        self._graph = graph
        self._batch = batch
        self._limits = limits
        self._values: dict[str, Value] = {}
        self._torch = fx.Graph()
        self._root = nn.Module()
        self._constants: dict[int, fx.Node] = {}
        self._sizes: dict[tuple[int, int, int], fx.Node] = {}
        self._first: fx.Node | None = None
        self._weights = weights
        self._opset = opset
        self._count = 0

    def walk(self) -> dict[str, torch.Size | None]:
        """Lowers every node; returns each tensor's shape at the first witness, None where only a run can tell.

        Raises UnsupportedModel or UnreadableModel, naming the node.
        """
        for name, tensor in self._weights.items():
            self._values[name] = constant(name, tensor, self._batch.witnesses)
        for info in self._graph.input:
            self._input(info)
        self._nodes(self._graph.node)
        return {name: value.size for name, value in self._values.items()}

    def module(self, outputs: Sequence[str]) -> fx.GraphModule:
        """What computes `outputs`, after `walk`: one tensor, or several as a tuple. May be called again."""
        results = [self._tensor(self._value(name)) for name in outputs]
        graph, twins = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.graph_copy(self._torch, twins)
        graph.output(twins[results[0]] if len(results) == 1 else tuple(twins[r] for r in results))
        for node in reversed(graph.nodes):
            if not node.users and node.op not in ("placeholder", "output"):
                graph.erase_node(node)
        return fx.GraphModule(self._root, graph, "Converted").eval()

    # ------------------------------------------------------------ inputs and nodes

    def _input(self, info: onnx.ValueInfoProto) -> None:
        node = self._torch.placeholder(_identifier(info.name, "input"))
        self._first = self._first or node
        self._values[info.name] = Value(name=info.name, node=node, shapes=self._batch.shapes(info))

    def _value(self, name: str) -> Value:
        if name not in self._values:
            raise UnreadableModel(f"the graph uses a tensor '{name}' that nothing produces")
        return self._values[name]

    def _nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        for node in nodes:
            try:
                self._one(node)
            except BdscanError:
                raise
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError, OverflowError) as why:
                reason = str(why).split("\n")[0][:200]
                raise UnsupportedModel(f"{node.op_type} node '{_label(node)}' cannot be computed: {reason}") from why

    def _one(self, node: onnx.NodeProto) -> None:
        self._count += 1
        if self._count > self._limits.nodes:
            raise TooMuch(f"the model has more than {self._limits.nodes:,} nodes once its loops are unrolled")
        if node.op_type == "Constant":
            self._values[node.output[0]] = self._constant(node)
        elif node.op_type == "If":
            self._if(node)
        elif node.op_type == "Loop":
            self._loop(node)
        elif node.op_type not in OPERATORS:
            self._composite(node)
        else:
            self._plain(node)

    def _plain(self, node: onnx.NodeProto) -> None:
        call = self._call(node)
        if is_alias(call) and call.operands[0] is not None:
            self._values[node.output[0]] = call.operands[0]
            return
        call = simplified(call)
        for name, value in zip(node.output, self._results(node, call), strict=False):
            if name:
                self._values[name] = value

    def _composite(self, node: onnx.NodeProto) -> None:
        inputs = [self._value(name).meta(0) if name else None for name in node.input]
        self._nodes(body_of(node, inputs, self._opset, f"{_label(node)}_{self._count}_"))

    def _if(self, node: onnx.NodeProto) -> None:
        """The branch that a constant condition chooses takes the node's place."""
        condition = self._value(node.input[0])
        if not condition.is_constant or condition.known is None:
            raise UnsupportedModel(f"If node '{_label(node)}' decides by what is in the picture")
        branch = attributes(node)["then_branch" if bool(condition.known[0]) else "else_branch"]
        for name, value in zip(node.output, self._inner(branch, {}), strict=True):
            self._values[name] = value

    def _loop(self, node: onnx.NodeProto) -> None:
        """Unrolled; the number of trips and the condition have to be known beforehand."""
        graph: onnx.GraphProto = attributes(node)["body"]
        trips, going = (self._known(node, i) for i in (0, 1))
        carried = [self._value(name) for name in node.input[2:]]
        rows: list[list[Value]] = []
        trip = 0
        while going in (None, True, 1) and (trips is None or trip < trips):
            if trip >= self._limits.trips:
                raise TooMuch(f"Loop node '{_label(node)}' makes more than {self._limits.trips:,} trips")
            counter = constant("trip", torch.tensor(trip), self._batch.witnesses)
            state = constant("going", torch.tensor(True), self._batch.witnesses)
            bound = dict(zip((i.name for i in graph.input), (counter, state, *carried), strict=True))
            again, *results = self._inner(graph, bound)
            if not again.is_constant or again.known is None:
                raise UnsupportedModel(f"Loop node '{_label(node)}' runs on by what is in the picture")
            going = bool(again.known[0])
            carried, trip = results[: len(carried)], trip + 1
            rows.append(results[len(carried) :])
        stacked = [self._stack(node, column) for column in zip(*rows, strict=True)]
        for name, value in zip(node.output, [*carried, *stacked], strict=True):
            self._values[name] = value

    def _known(self, node: onnx.NodeProto, position: int) -> int | None:
        if position >= len(node.input) or not node.input[position]:
            return None
        value = self._value(node.input[position])
        if not value.is_constant or value.known is None:
            raise UnsupportedModel(f"Loop node '{_label(node)}' runs as often as the picture says")
        return int(value.known[0])

    def _inner(self, graph: onnx.GraphProto, bound: Mapping[str, Value]) -> list[Value]:
        self._values.update(bound)
        for weight in graph.initializer:
            self._values[weight.name] = constant(weight.name, to_tensor(weight), self._batch.witnesses)
        self._nodes(graph.node)
        return [self._value(o.name) for o in graph.output]

    def _stack(self, node: onnx.NodeProto, column: Sequence[Value]) -> Value:
        call = Call(op="Stack", name=_label(node), kernel=stack, operands=tuple(column), attributes={})
        self._count += 1
        name = f"{_label(node)}_stack_{self._count}"
        return self._results(helper.make_node("Stack", [], [name], name=name), call)[0]

    def _constant(self, node: onnx.NodeProto) -> Value:
        ((key, value),) = attributes(node).items()
        if key not in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            raise UnsupportedModel(f"Constant node '{_label(node)}' holds {key}, which is not a dense tensor")
        if not isinstance(value, Tensor):
            value = torch.tensor(value, dtype=torch.float32 if "float" in key else torch.int64)
        return constant(node.output[0], value, self._batch.witnesses)

    def _call(self, node: onnx.NodeProto) -> Call:
        kernel = OPERATORS[node.op_type]
        operands = [self._value(name) if name else None for name in node.input]
        while operands and operands[-1] is None:
            operands.pop()
        declared = signature(kernel)
        given: dict[str, Any] = attributes(node)
        if unknown := set(given) - declared.attributes:
            raise UnsupportedModel(f"{node.op_type} node '{_label(node)}' has unknown attributes {sorted(unknown)}")
        if "outputs" in declared.attributes:
            given["outputs"] = len(node.output)
        if isinstance(fill := given.get("value"), Tensor):
            given |= {"value": fill.item(), "value_dtype": fill.dtype}
        if "input_dtype" in declared.attributes:
            given["input_dtype"] = operands[0].dtype if operands and operands[0] else None
        call = Call(op=node.op_type, name=_label(node), kernel=kernel, operands=tuple(operands), attributes=given)
        return relaxed(call, self._batch) if self._batch.relax else call

    # ------------------------------------------------------------ what is known now, what is left for later

    def _results(self, node: onnx.NodeProto, call: Call) -> list[Value]:
        witnesses = range(self._batch.witnesses)
        shapes = [call.shapes(i) for i in witnesses] if call.has_shapes else None
        if shapes is not None:
            self._limits.check_results(call.op, call.name, shapes[0])
        if call.is_constant:
            return [constant(n, t, len(witnesses)) for n, t in zip(node.output, call.contents(0), strict=False)]
        known = None
        if call.is_known and shapes is not None and all(t.numel() <= _SHAPE_ARITHMETIC for s in shapes for t in s):
            known = [call.contents(i) for i in witnesses]
            if all(_same(known[0], k) for k in known):
                return [constant(n, t, len(witnesses)) for n, t in zip(node.output, known[0], strict=False)]
        outputs = self._emit(node, call)
        return [
            Value(
                name=name,
                node=outputs[i],
                known=None if known is None else tuple(k[i] for k in known),
                shapes=None if shapes is None or i >= len(shapes[0]) else tuple(s[i] for s in shapes),
            )
            for i, name in enumerate(node.output)
        ]

    def _emit(self, node: onnx.NodeProto, call: Call) -> list[fx.Node]:
        label = _identifier(node.name or node.output[0], node.op_type.lower())
        layer = self._layer(call)
        if layer is not None and call.operands[0] is not None:
            path = _free_name(self._root, label)
            self._root.add_module(path, layer)
            return [self._torch.create_node("call_module", path, (self._tensor(call.operands[0]),), {}, path)]
        arguments = call.written(self._operand)
        result = self._torch.create_node("call_function", call.kernel, arguments, dict(call.attributes), label)
        if len(node.output) == 1 and node.op_type not in ("Split",):
            return [result]
        return [self._torch.call_function(operator.getitem, (result, i)) for i in range(len(node.output))]

    def _layer(self, call: Call) -> nn.Module | None:
        builder, data, rest = BUILDERS.get(call.op), call.operands[0], call.operands[1:]
        if builder is None or data is None or data.is_constant or call.attributes.get("outputs", 1) != 1:
            return None
        if not all(v is None or v.is_constant for v in rest):
            return None
        return builder([None if v is None or v.known is None else v.known[0] for v in rest], call.attributes, data.size)

    # ------------------------------------------------------------ operands in the torch graph

    def _tensor(self, value: Value) -> fx.Node:
        if value.node is not None:
            return value.node
        assert value.known is not None
        key = id(value.known[0])
        if key not in self._constants:
            path = _free_name(self._root, _identifier(value.name, "constant"))
            self._root.register_buffer(path, value.known[0])
            self._constants[key] = self._torch.get_attr(path)
        return self._constants[key]

    def _operand(self, kind: Kind, value: Value) -> object:
        if kind is Kind.TENSOR:
            return self._tensor(value)
        numbers = self._numbers(value)
        if numbers is None:
            read = scalar_of if kind is Kind.SCALAR else numbers_of
            return self._torch.call_function(read, (self._tensor(value),))
        return numbers[0] if kind is Kind.SCALAR else numbers

    def _numbers(self, value: Value) -> tuple[object, ...] | None:
        """Python numbers, some of them multiples of the batch; None where only the running net can tell."""
        if value.known is None:
            return None
        columns = list(zip(*(k.flatten().tolist() for k in value.known), strict=True))
        shares = [share_of_batch(column, self._batch.sizes) for column in columns]
        if any(share is None for share in shares):
            return None
        return tuple(self._times_batch(*share) for share in shares if share is not None)

    def _times_batch(self, factor: int, divisor: int, offset: float) -> object:
        if factor == 0:
            return offset
        key = (factor, divisor, int(offset))
        if key not in self._sizes:
            assert self._first is not None
            size: fx.Node = self._torch.call_method("size", (self._first, 0))
            size = size if factor == 1 else self._torch.call_function(operator.mul, (size, factor))
            size = size if divisor == 1 else self._torch.call_function(operator.floordiv, (size, divisor))
            self._sizes[key] = size if offset == 0 else self._torch.call_function(operator.add, (size, int(offset)))
        return self._sizes[key]


def _same(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def stack(*xs: Tensor) -> Tensor:
    return torch.stack(xs)


def _label(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else "")


def _identifier(name: str, otherwise: str) -> str:
    """A name of the file as a Python identifier that can do no harm in generated code."""
    word = re.sub(r"[^0-9A-Za-z]+", "_", name)[:80].strip("_")
    word = word or otherwise
    word = f"n{word}" if word[0].isdigit() else word
    return f"{word}_" if keyword.iskeyword(word) else word


def _free_name(root: nn.Module, name: str) -> str:
    """`name`, or with a number where `root` or a GraphModule has such an attribute already."""
    taken, candidate = 0, name
    while hasattr(root, candidate) or hasattr(fx.GraphModule, candidate) or candidate in ("graph", "code"):
        taken += 1
        candidate = f"{name}_{taken}"
    return candidate


