"""If and Loop. Where a condition is known beforehand the branch is chosen, else both are computed and one is taken;
loops are unrolled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import onnx
import torch
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.limits import Limits, TooMuch
from modelscan_bd.onnx_engine.ops import OPERATORS
from modelscan_bd.onnx_engine.tensors import attributes, label
from modelscan_bd.onnx_engine.values import Call, Value


@runtime_checkable
class Scope(Protocol):
    """The walk through a graph, as far as control flow needs it."""

    def value(self, name: str) -> Value: ...
    def constant(self, name: str, tensor: Tensor) -> Value: ...
    def bind(self, values: Mapping[str, Value]) -> None: ...
    def inner(self, graph: onnx.GraphProto) -> list[Value]: ...
    def results(self, call: Call, outputs: Sequence[str]) -> list[Value]: ...


def chosen(node: onnx.NodeProto, scope: Scope) -> list[Value]:
    """What an If gives. Nodes have no effects but their values, so both branches may run where the picture decides.

    Raises UnsupportedModel where they then differ in shape.
    """
    condition, branches = scope.value(node.input[0]), attributes(node)
    then: Any = branches["then_branch"]
    other: Any = branches["else_branch"]
    if condition.is_constant and condition.known is not None:
        return scope.inner(then if bool(condition.known[0]) else other)
    pairs = zip(scope.inner(then), scope.inner(other), node.output, strict=True)
    return [_either(condition, a, b, output, scope) for a, b, output in pairs]


def _either(condition: Value, a: Value, b: Value, output: str, scope: Scope) -> Value:
    call = Call(op="Where", name=output, kernel=OPERATORS["Where"], operands=(condition, a, b), attributes={})
    return scope.results(call, [output])[0]


def unrolled(node: onnx.NodeProto, scope: Scope, limits: Limits) -> list[Value]:
    """All trips of a Loop, one after the other: the carried values at the end, then what each trip left, stacked.

    Raises UnsupportedModel where the number of trips is not known beforehand, TooMuch where there are too many.
    """
    body: Any = attributes(node)["body"]
    trips, going = (_known(node, scope, position) for position in (0, 1))
    carried = [scope.value(name) for name in node.input[2:]]
    rows: list[list[Value]] = []
    while going != 0 and (trips is None or len(rows) < trips):
        if len(rows) >= limits.trips:
            raise TooMuch(f"Loop node '{label(node)}' makes more than {limits.trips:,} trips")
        start = [scope.constant("trip", torch.tensor(len(rows))), scope.constant("going", torch.tensor(True))]
        scope.bind(dict(zip((i.name for i in body.input), [*start, *carried], strict=True)))
        again, *results = scope.inner(body)
        if not again.is_constant or again.known is None:
            raise UnsupportedModel(f"Loop node '{label(node)}' runs on by what is in the picture")
        going = int(again.known[0])
        carried = results[: len(carried)]
        rows.append(results[len(carried) :])
    return [*carried, *(_stacked(node, scope, i, column) for i, column in enumerate(zip(*rows, strict=True)))]


def stack(*xs: Tensor) -> Tensor:
    return torch.stack(xs)


def _stacked(node: onnx.NodeProto, scope: Scope, position: int, column: Sequence[Value]) -> Value:
    name = f"{label(node)}_stack_{position}"
    call = Call(op="Stack", name=name, kernel=stack, operands=tuple(column), attributes={})
    return scope.results(call, [name])[0]


def _known(node: onnx.NodeProto, scope: Scope, position: int) -> int | None:
    if position >= len(node.input) or not node.input[position]:
        return None
    value = scope.value(node.input[position])
    if not value.is_constant or value.known is None:
        raise UnsupportedModel(f"Loop node '{label(node)}' runs as often as the picture says")
    return int(value.known[0])
