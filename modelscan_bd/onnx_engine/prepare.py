"""The front half: from a file's graph to one that the table of operators understands, in named steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.composites import has_body
from modelscan_bd.onnx_engine.dequantise import dequantised
from modelscan_bd.onnx_engine.fuse import fuse_linear, fuse_rounding
from modelscan_bd.onnx_engine.halves import has_halves, widened
from modelscan_bd.onnx_engine.inline import inlined
from modelscan_bd.onnx_engine.limits import Limits, graphs
from modelscan_bd.onnx_engine.ops import OPERATORS
from modelscan_bd.onnx_engine.opset import DEFAULT_DOMAINS, normalised, opset_of
from modelscan_bd.onnx_engine.order import ordered
from modelscan_bd.onnx_engine.source import Source, detached
from modelscan_bd.onnx_engine.tensors import to_tensor

CONTROL = frozenset({"Constant", "If", "Loop"})

# how far the outputs may move, in units of the largest: rounding that the file does and the engine leaves out, or
# does to sums added up in another order, so that now and then a code is the next one
_SAME, _SAME_AS_HALVES, _SAME_AS_CODES = 1e-3, 0.02, 0.15


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A graph at the engine's opset, its weights as tensors, and what was changed on the way.

    `tolerance`: how far outputs may be from the file's own, in units of the largest of them.
    """

    graph: onnx.GraphProto
    opset: int
    weights: Mapping[str, Tensor]
    rewrites: tuple[str, ...] = ()
    tolerance: float = _SAME


def prepared(model: onnx.ModelProto, limits: Limits, *, keep_ends: bool = False) -> Prepared:
    """`keep_ends`: a graph of half precision still takes and returns halves.

    Raises UnsupportedModel with all operators that have no kernel, or UnreadableModel where the file is broken."""
    limits.check_model(model)
    source = detached(model)
    inlined(source.model)
    _sort(source, limits)
    source = normalised(source)
    graph, opset = source.model.graph, opset_of(source.model)
    weights = {name: to_tensor(w) for name, w in source.weights.items()}
    weights |= {w.name: to_tensor(w) for w in graph.initializer}
    rewrites, tolerance = [], _SAME
    if has_halves(graph, weights):
        weights = widened(graph, weights, limits, keep_ends=keep_ends)
        rewrites.append("half precision widened to single")
        tolerance = _SAME_AS_HALVES
    if dequantised(graph, weights):
        tolerance = _SAME_AS_CODES
        rewrites.append(
            "8-bit codes replaced by the numbers they stand for; rounded to them where no gradient is taken"
        )
    _refuse_unknown(graph, opset, limits)
    fuse_linear(graph, weights)
    fuse_rounding(graph, weights)
    return Prepared(graph=graph, opset=opset, weights=weights, rewrites=tuple(rewrites), tolerance=tolerance)


def _sort(source: Source, limits: Limits) -> None:
    for graph in graphs(source.model.graph, limits):
        given = {i.name for i in graph.input} | {w.name for w in graph.initializer} | set(source.weights)
        nodes = ordered(graph.node, given)
        if any(a is not b for a, b in zip(nodes, graph.node, strict=True)):
            copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
            del graph.node[:]
            graph.node.extend(copies)


def _refuse_unknown(graph: onnx.GraphProto, opset: int, limits: Limits) -> None:
    unknown: dict[str, list[str]] = {}
    for part in graphs(graph, limits):
        for node in part.node:
            if not _is_known(node, opset):
                unknown.setdefault(f"{node.domain}.{node.op_type}".lstrip("."), []).append(
                    node.name or next(iter(node.output), "")
                )
    if unknown:
        listed = "; ".join(
            f"{op} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" for op, names in sorted(unknown.items())
        )
        raise UnsupportedModel(f"the model uses operators that bdscan cannot differentiate: {listed}")


def _is_known(node: onnx.NodeProto, opset: int) -> bool:
    if node.op_type in OPERATORS or node.op_type in CONTROL:
        return node.domain in (*DEFAULT_DOMAINS, "bdscan")
    return node.domain in DEFAULT_DOMAINS and has_body(node.op_type, opset)
