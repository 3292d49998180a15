"""Wherever graphs, nodes and tensors can hide in an ONNX model: subgraphs, attributes, functions, training graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, final

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto

from modelscan_bd.audit.texts import shown

FunctionId: TypeAlias = tuple[str, str, str]  # domain, name, overload


@final
@dataclass(frozen=True, kw_only=True)
class Scope:
    """A graph or the body of a function. `place` says where it is, `depth` in how many others."""

    graph: GraphProto | FunctionProto
    place: str
    depth: int


def scopes(model: onnx.ModelProto) -> Iterator[Scope]:
    """Every graph and function, outer ones first. Protobuf itself bounds how deep they nest."""
    waiting = [Scope(graph=model.graph, place="", depth=0)]
    waiting += [Scope(graph=f, place=f"function {shown(f.name)}", depth=0) for f in model.functions]
    for training in model.training_info:
        for graph in (training.initialization, training.algorithm):
            waiting.append(Scope(graph=graph, place="training graph", depth=0))
    while waiting:
        scope = waiting.pop()
        yield scope
        for node, attribute in _attributes(scope.graph):
            place = joined(scope.place, f"{called(node)}, {shown(attribute.name)}" if node else "default attribute")
            waiting += [Scope(graph=graph, place=place, depth=scope.depth + 1) for graph in _graphs(attribute)]


def nodes(model: onnx.ModelProto) -> Iterator[tuple[str, NodeProto]]:
    """Every node, with its place."""
    for scope in scopes(model):
        for node in scope.graph.node:
            yield joined(scope.place, called(node)), node


def nodes_within(outer: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes and those of their subgraphs."""
    waiting = [outer]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [graph.node for graph in inner_graphs(node)]


def inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from _graphs(attribute)


def tensors(model: onnx.ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Every tensor of the file, with its place."""
    for scope in scopes(model):
        if isinstance(scope.graph, GraphProto):
            for tensor in _stored(scope.graph):
                yield joined(scope.place, f"tensor {shown(tensor.name)}"), tensor
        for node, attribute in _attributes(scope.graph):
            for tensor in _held_by(attribute):
                yield joined(scope.place, called(node) if node else "default attribute"), tensor


def called(node: NodeProto) -> str:
    """A node by its name, or else by what it produces."""
    return f"node {shown(node.name or next(iter(node.output), '') or node.op_type)}"


def identity(function: FunctionProto) -> FunctionId:
    return function.domain, function.name, function.overload


def wanted(node: NodeProto) -> FunctionId:
    """The function that a node calls, if the model has it."""
    return node.domain, node.op_type, node.overload


def joined(outer: str, inner: str) -> str:
    return f"{outer}, {inner}" if outer else inner


def _attributes(graph: GraphProto | FunctionProto) -> Iterator[tuple[NodeProto | None, AttributeProto]]:
    for node in graph.node:
        for attribute in node.attribute:
            yield node, attribute
    if isinstance(graph, FunctionProto):
        for attribute in graph.attribute_proto:
            yield None, attribute


def _graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    yield from attribute.graphs
    if attribute.HasField("g"):
        yield attribute.g


def _stored(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _held_by(attribute: AttributeProto) -> Iterator[TensorProto]:
    yield from attribute.tensors
    if attribute.HasField("t"):
        yield attribute.t
    for sparse in attribute.sparse_tensors:
        yield from (sparse.values, sparse.indices)
    if attribute.HasField("sparse_tensor"):
        yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
