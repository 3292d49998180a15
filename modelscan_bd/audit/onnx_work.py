"""Work and memory that constants in the graph ask for: loops that never stop, tensors larger than any machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto

from modelscan_bd.audit.onnx_tensors import is_external
from modelscan_bd.audit.onnx_walk import called, joined, scopes
from modelscan_bd.audit.remark import Remark
from modelscan_bd.grades import Confidence, Severity

_MOST_TRIPS = 2**20
_MOST_ELEMENTS = 2**31
_SIZES = {
    "ConstantOfShape": 0,
    "Expand": 1,
    "Tile": 1,
    "Resize": 3,
    "Upsample": 1,
    "Range": 1,
    "OneHot": 1,
}  # which input says how large the result is
_RANDOM = ("RandomNormal", "RandomUniform")
_SMALL = 64  # numbers; no shape has more


def remarks(model: onnx.ModelProto, name: str) -> Iterator[Remark]:
    everywhere: dict[str, tuple[int, ...]] = {}
    for scope in scopes(model):
        everywhere |= _constants(scope.graph)  # inner graphs see those of outer ones
    for scope in scopes(model):
        constants = everywhere | _constants(scope.graph)
        for node in scope.graph.node:
            wrong = _endless(node, constants) if node.op_type == "Loop" else _too_large(node, constants)
            if wrong:
                yield Remark(
                    rule="BD923",
                    severity=Severity.HIGH,
                    confidence=Confidence.MEDIUM,
                    message=f"{name}: a {node.op_type} node {wrong}.",
                    place=joined(scope.place, called(node)),
                )


def _endless(node: NodeProto, constants: Mapping[str, tuple[int, ...]]) -> str:
    """Exporters write 2^63 - 1 for `while`; what stops such a loop is a condition that its body works out."""
    trips = constants.get(node.input[0], ()) if node.input else ()
    bounded = bool(node.input and node.input[0]) and (not trips or trips[0] <= _MOST_TRIPS)
    body = next((a.g for a in node.attribute if a.name == "body" and a.HasField("g")), None)
    if bounded or body is None or not _never_ends(body):
        return ""
    return f"runs {int(trips[0])} times" if trips else "has no end"


def _never_ends(body: GraphProto) -> bool:
    """Whether the condition for another round is the last one's, or a constant."""
    if not body.output or len(body.input) < 2:
        return False
    producers = {output: node for node in body.node for output in node.output}
    wanted = body.output[0].name
    for _ in range(len(body.node) + 1):
        if wanted == body.input[1].name or wanted in {tensor.name for tensor in body.initializer}:
            return True
        maker = producers.get(wanted)
        if maker is None or maker.op_type not in ("Identity", "Cast"):
            return maker is not None and maker.op_type in ("Constant", "ConstantOfShape")
        wanted = maker.input[0] if maker.input else ""
    return True


def _too_large(node: NodeProto, constants: Mapping[str, tuple[int, ...]]) -> str:
    if node.op_type in _RANDOM:
        sizes: tuple[int, ...] = tuple(n for a in node.attribute if a.name == "shape" for n in a.ints)
    else:
        at = _SIZES.get(node.op_type)
        sizes = constants.get(node.input[at], ()) if at is not None and at < len(node.input) else ()
    count = math.prod(float(max(abs(n), 1)) for n in sizes[:_SMALL])
    return f"asks for {count:.3g} numbers" if count > _MOST_ELEMENTS else ""


def _constants(graph: GraphProto | FunctionProto) -> dict[str, tuple[int, ...]]:
    """The small whole numbers that the graph holds, by name."""
    known = {} if isinstance(graph, FunctionProto) else {t.name: _numbers(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            known[node.output[0]] = next((_said(a) for a in node.attribute), ())
    return known


def _said(attribute: AttributeProto) -> tuple[int, ...]:
    if attribute.type == AttributeProto.TENSOR:
        return _numbers(attribute.t)
    if attribute.type == AttributeProto.INT:
        return (attribute.i,)
    return tuple(attribute.ints[:_SMALL]) if attribute.type == AttributeProto.INTS else ()


def _numbers(tensor: TensorProto) -> tuple[int, ...]:
    if is_external(tensor) or math.prod(tensor.dims) > _SMALL or any(n < 0 for n in tensor.dims):
        return ()
    if tensor.data_type not in (TensorProto.INT64, TensorProto.INT32):
        return ()
    width = 8 if tensor.data_type == TensorProto.INT64 else 4
    raw = tensor.raw_data
    if raw:
        starts = range(0, min(len(raw), _SMALL * width), width)
        return tuple(int.from_bytes(raw[at : at + width], "little", signed=True) for at in starts)
    return tuple(tensor.int64_data[:_SMALL]) or tuple(tensor.int32_data[:_SMALL])
