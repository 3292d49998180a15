"""From an ONNX graph at the engine's opset to a torch.fx GraphModule, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import onnx
import torch
from torch import Tensor, fx

from modelscan_bd.errors import BdscanError, UnreadableModel, UnsupportedModel
from modelscan_bd.onnx_engine.batch import Batch, relaxed
from modelscan_bd.onnx_engine.composites import body_of
from modelscan_bd.onnx_engine.control import chosen, unrolled
from modelscan_bd.onnx_engine.limits import Limits, TooMuch
from modelscan_bd.onnx_engine.ops import OPERATORS
from modelscan_bd.onnx_engine.ops.kinds import signature
from modelscan_bd.onnx_engine.simplify import is_alias, simplified
from modelscan_bd.onnx_engine.tensors import attributes, label, to_tensor
from modelscan_bd.onnx_engine.values import Call, Value, constant
from modelscan_bd.onnx_engine.writer import Writer

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
        self._opset = opset
        self._writer = Writer(batch.sizes)
        self._values = {name: constant(name, tensor, batch.witnesses) for name, tensor in weights.items()}
        self._count = 0
        self._folded = 0

    def walk(self) -> dict[str, torch.Size | None]:
        """Lowers every node; returns each tensor's shape at the first witness, None where only a run can tell.

        Raises UnsupportedModel or UnreadableModel, naming the node.
        """
        for info in self._graph.input:
            node = self._writer.placeholder(info.name)
            self._values[info.name] = Value(name=info.name, node=node, shapes=self._batch.shapes(info))
        self.nodes(self._graph.node)
        return {name: value.size for name, value in self._values.items()}

    def module(self, outputs: Sequence[str]) -> fx.GraphModule:
        """What computes `outputs`, after `walk`: one tensor, or several as a tuple. May be called again."""
        return self._writer.module([self.value(name) for name in outputs])

    # ------------------------------------------------------------ used by control flow as well

    def value(self, name: str) -> Value:
        if name not in self._values:
            raise UnreadableModel(f"the graph uses a tensor '{name}' that nothing produces")
        return self._values[name]

    def constant(self, name: str, tensor: Tensor) -> Value:
        return constant(name, tensor, self._batch.witnesses)

    def bind(self, values: Mapping[str, Value]) -> None:
        self._values.update(values)

    def inner(self, graph: onnx.GraphProto) -> list[Value]:
        """Lowers a graph inside a node, here and now; returns its outputs."""
        self.bind({w.name: self.constant(w.name, to_tensor(w)) for w in graph.initializer})
        self.nodes(graph.node)
        return [self.value(o.name) for o in graph.output]

    def nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        for node in nodes:
            try:
                self._one(node)
            except BdscanError:
                raise
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError, ArithmeticError) as why:
                reason = (str(why).splitlines() or [""])[0][:200]
                kind = TooMuch if "overflow" in reason else UnsupportedModel
                raise kind(f"{node.op_type} node '{label(node)}' cannot be computed: {reason}") from why

    def results(self, call: Call, outputs: Sequence[str]) -> list[Value]:
        """Computes what can be computed now, and writes the rest into the torch graph."""
        witnesses = range(self._batch.witnesses)
        shapes = [call.shapes(i) for i in witnesses] if call.has_shapes else None
        if shapes is not None:
            self._limits.check_results(call.op, call.name, shapes[0])
        if call.is_constant:
            self._fold(shapes)
            return [self.constant(n, t) for n, t in zip(outputs, call.contents(0), strict=False)]
        known = None
        if call.is_known and shapes is not None and all(t.numel() <= _SHAPE_ARITHMETIC for s in shapes for t in s):
            known = [call.contents(i) for i in witnesses]
            if all(_same(known[0], k) for k in known):
                return [self.constant(n, t) for n, t in zip(outputs, known[0], strict=False)]
        written = self._writer.call(call, label=call.name or outputs[0], outputs=len(outputs))
        return [
            Value(
                name=name,
                node=written[i],
                known=None if known is None else tuple(k[i] for k in known),
                shapes=None if shapes is None or i >= len(shapes[0]) else tuple(s[i] for s in shapes),
            )
            for i, name in enumerate(outputs)
        ]

    # ------------------------------------------------------------ one node

    def _one(self, node: onnx.NodeProto) -> None:
        self._count += 1
        if self._count > self._limits.nodes:
            raise TooMuch(f"the model has more than {self._limits.nodes:,} nodes once its loops are unrolled")
        if node.op_type == "Constant":
            self._values[node.output[0]] = self._constant(node)
        elif node.op_type == "If":
            self.bind(dict(zip(node.output, chosen(node, self), strict=True)))
        elif node.op_type == "Loop":
            self.bind(dict(zip(node.output, unrolled(node, self, self._limits), strict=True)))
        elif node.op_type not in OPERATORS:
            inputs = [self.value(name).meta(0) if name else None for name in node.input]
            self.nodes(body_of(node, inputs, self._opset, f"{label(node)}_{self._count}_"))
        else:
            self._plain(node)

    def _plain(self, node: onnx.NodeProto) -> None:
        call = self._call(node)
        if is_alias(call) and call.operands[0] is not None:
            self._values[node.output[0]] = call.operands[0]
            return
        values = self.results(simplified(call), node.output)
        self.bind({name: value for name, value in zip(node.output, values, strict=False) if name})

    def _call(self, node: onnx.NodeProto) -> Call:
        kernel = OPERATORS[node.op_type]
        operands = [self.value(name) if name else None for name in node.input]
        while operands and operands[-1] is None:
            operands.pop()
        declared = signature(kernel)
        given: dict[str, Any] = attributes(node)
        if unknown := set(given) - declared.attributes:
            raise UnsupportedModel(f"{node.op_type} node '{label(node)}' has unknown attributes {sorted(unknown)}")
        if isinstance(fill := given.get("value"), Tensor):
            given |= {"value": fill.item(), "value_dtype": fill.dtype}
        if "outputs" in declared.attributes:
            given["outputs"] = len(node.output)
        if "input_dtype" in declared.attributes:
            given["input_dtype"] = operands[0].dtype if operands and operands[0] else None
        call = Call(op=node.op_type, name=label(node), kernel=kernel, operands=tuple(operands), attributes=given)
        return relaxed(call, self._batch) if self._batch.relax else call

    def _constant(self, node: onnx.NodeProto) -> Value:
        ((key, value),) = attributes(node).items()
        if key not in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            raise UnsupportedModel(f"Constant node '{label(node)}' holds {key}, which is not a dense tensor")
        if not isinstance(value, Tensor):
            value = torch.tensor(value, dtype=torch.float32 if "float" in key else torch.int64)
        return self.constant(node.output[0], value)

    def _fold(self, shapes: list[tuple[Tensor, ...]] | None) -> None:
        self._folded += sum(t.numel() for t in shapes[0]) if shapes else 0
        if self._folded > self._limits.folded:
            raise TooMuch(f"the model's constants take more than {self._limits.folded:,} elements to work out")


def _same(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))
