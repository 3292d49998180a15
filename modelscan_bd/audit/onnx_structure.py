"""Graphs that two readers can understand differently: names given twice, circles, versions that do not exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import onnx
from onnx import FunctionProto, GraphProto, NodeProto

from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.onnx_walk import Scope, called, inner_graphs, joined, scopes
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.grades import Confidence, Severity

OLDEST, NEWEST = 7, 25  # of the default operator set, that bdscan reads
_ABSURD = 1000  # no operator set and no version of the format will have such a number soon


def faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """Tensors, results and operator sets that are named twice, and nodes that wait for each other."""
    yield from _opset_faults(model, name)
    for scope in scopes(model):
        yield from _named_twice(scope, name)
        yield from _circles(scope, name)


def remarks(model: onnx.ModelProto, name: str) -> Iterator[Remark]:
    """What is odd and harmless to read: a version of the format from nowhere, graphs for training."""
    if not 1 <= model.ir_version <= _ABSURD:
        message = f"{name} declares version {model.ir_version} of the ONNX format, which does not exist."
        yield Remark(
            rule="BD925", severity=Severity.MEDIUM, confidence=Confidence.MEDIUM, message=message, place="ir_version"
        )
    if model.training_info:
        message = f"{name} carries {len(model.training_info)} graphs for training, which a classifier does not need."
        yield Remark(
            rule="BD927", severity=Severity.LOW, confidence=Confidence.HIGH, message=message, place="training_info"
        )


def _opset_faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(set(versions)) > 1:
        what = f"{name} declares the operator sets {', '.join(map(str, versions[:4]))} at the same time"
        yield _fault(UnreadableModel(what), "opset_import")
    elif not versions or not OLDEST <= versions[0] <= NEWEST:
        said = f"opset {versions[0]}" if versions else "no opset"
        error = UnsupportedModel(
            f"{name} declares {said}; bdscan reads {OLDEST} to {NEWEST}",
            remedy="Export it again, or convert it with onnx.version_converter.",
        )
        absurd = bool(versions) and not 1 <= versions[0] <= _ABSURD
        severity = Severity.MEDIUM if absurd else Severity.LOW
        yield Fault(rule="BD925", severity=severity, error=error, place="opset_import")


def _named_twice(scope: Scope, name: str) -> Iterator[Fault]:
    given: list[str] = []
    if isinstance(scope.graph, GraphProto):
        given = [tensor.name for tensor in scope.graph.initializer]
        given += [sparse.values.name for sparse in scope.graph.sparse_initializer]
        if len(set(given)) != len(given):
            twice = Counter(given).most_common(1)[0][0]
            what = f"{name} gives two tensors the same name ('{shown(twice)}'), so that readers see different networks"
            yield _fault(UnreadableModel(what), scope.place)
    results = Counter(output for node in scope.graph.node for output in node.output if output)
    results.update({*given, *_inputs(scope.graph)})
    twice, count = results.most_common(1)[0] if results else ("", 0)
    if count > 1:
        what = f"{name} makes the tensor '{shown(twice)}' more than once, so that two readers see different networks"
        yield _fault(UnreadableModel(what), scope.place)


def _inputs(graph: GraphProto | FunctionProto) -> set[str]:
    return set(graph.input) if isinstance(graph, FunctionProto) else {entry.name for entry in graph.input}


def _circles(scope: Scope, name: str) -> Iterator[Fault]:
    nodes = list(scope.graph.node)
    makers = {output: at for at, node in enumerate(nodes) for output in node.output if output}
    waits = {at: {makers[used] for used in _used(node) if used in makers} for at, node in enumerate(nodes)}
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        node = nodes[error.args[1][0]]
        what = f"{name}: the graph runs in a circle through {called(node)}"
        yield _fault(UnreadableModel(what), joined(scope.place, called(node)))


def _used(node: NodeProto) -> Iterator[str]:
    """The tensors a node reads, those that its subgraphs take from outside among them."""
    yield from node.input
    for graph in inner_graphs(node):
        own = {output for inner in graph.node for output in inner.output} | _inputs(graph)
        own |= {tensor.name for tensor in graph.initializer}
        yield from (name for inner in graph.node for name in _used(inner) if name not in own)
        yield from (output.name for output in graph.output if output.name not in own)


def _fault(error: UnreadableModel, place: str) -> Fault:
    return Fault(rule="BD924", severity=Severity.MEDIUM, error=error, place=place)
