"""Walks an ONNX model wherever tensors and nodes can hide: subgraphs, attributes, functions, training graphs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from modelscan_bd.errors import UnreadableModel, UnsupportedModel

_STANDARD = ("", "ai.onnx")
_KNOWN = (*_STANDARD, "ai.onnx.ml", "com.microsoft")
_MOST_NODES = 200_000
_MOST_ELEMENTS = 2**31
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def check(model: onnx.ModelProto, name: str) -> None:
    """Raises UnsupportedModel for foreign operators, UnreadableModel for graphs that contradict themselves."""
    nodes = list(_nodes(model))
    _check_operators(model, nodes, name)
    _check_functions(model, len(nodes), name)
    initialisers = [tensor.name for tensor in model.graph.initializer]
    if len(set(initialisers)) != len(initialisers):
        raise UnreadableModel(f"{name} gives two tensors the same name, so that two readers see different networks")
    if any(_is_sparse(graph) for graph in _graphs(model)):
        raise UnsupportedModel(f"{name} holds sparse tensors, which bdscan does not read", remedy="Export it dense.")


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the file."""
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in _attributes(model):
        yield from _held_by(attribute)


def check_sizes(model: onnx.ModelProto, name: str) -> None:
    """Raises UnreadableModel where a tensor's shape claims another number of elements than it holds."""
    for tensor in tensors(model):
        count = math.prod(tensor.dims)
        held = max(len(getattr(tensor, field)) for field in _FIELDS)
        enough = _raw_fits(tensor, count) if tensor.HasField("raw_data") else count <= 2 * held
        if any(n < 0 for n in tensor.dims) or count > _MOST_ELEMENTS or not enough:
            raise UnreadableModel(f"{name}: tensor '{tensor.name[:80]}' claims {count} numbers and does not hold them")


def _raw_fits(tensor: TensorProto, count: int) -> bool:
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        return False
    narrow = {TensorProto.UINT4, TensorProto.INT4, getattr(TensorProto, "FLOAT4E2M1", -1)}
    needed = (count + 1) // 2 if tensor.data_type in narrow else count * kind.itemsize
    return len(tensor.raw_data) == needed or len(tensor.raw_data) == count * kind.itemsize


def _graphs(model: onnx.ModelProto) -> Iterator[GraphProto]:
    yield model.graph
    for training in model.training_info:
        yield from (training.initialization, training.algorithm)
    for attribute in _attributes(model):
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def _nodes(model: onnx.ModelProto) -> Iterator[NodeProto]:
    """All nodes of all graphs; protobuf itself bounds how deep they nest."""
    waiting: list[Iterable[NodeProto]] = [model.graph.node, *(function.node for function in model.functions)]
    for training in model.training_info:
        waiting += [training.initialization.node, training.algorithm.node]
    while waiting:
        for node in waiting.pop():
            yield node
            for attribute in node.attribute:
                waiting += [graph.node for graph in attribute.graphs]
                if attribute.HasField("g"):
                    waiting.append(attribute.g.node)


def _attributes(model: onnx.ModelProto) -> Iterator[AttributeProto]:
    for node in _nodes(model):
        yield from node.attribute
    for function in model.functions:
        yield from function.attribute_proto


def _held_by(attribute: AttributeProto) -> Iterator[TensorProto]:
    yield from attribute.tensors
    if attribute.HasField("t"):
        yield attribute.t
    sparse = [*attribute.sparse_tensors, *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])]
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _is_sparse(graph: GraphProto) -> bool:
    return bool(graph.sparse_initializer)


def _check_operators(model: onnx.ModelProto, nodes: list[NodeProto], name: str) -> None:
    local = {(function.domain, function.name) for function in model.functions}
    for domain, function in local:
        if domain in _KNOWN:
            raise UnsupportedModel(f"{name} redefines the standard operator {function}, so that readers disagree on it")
    for node in nodes:
        if node.domain not in _KNOWN and (node.domain, node.op_type) not in local:
            raise UnsupportedModel(
                f"{name} uses {node.op_type[:60]} of the domain '{node.domain[:60]}', whose code is not in the file",
                remedy="Export it with standard ONNX operators.",
            )


def _check_functions(model: onnx.ModelProto, nodes: int, name: str) -> None:
    """Counts the nodes that inlining all local functions would make; forty that call each other twice make 2^40."""
    calls = {
        (function.domain, function.name): [(n.domain, n.op_type) for n in _all_nodes(function.node)]
        for function in model.functions
    }
    sizes: dict[tuple[str, str], int] = {}
    for _ in range(len(calls) + 1):  # a function is counted once all that it calls are
        ready = [key for key in calls if key not in sizes and all(c in sizes for c in calls[key] if c in calls)]
        sizes |= {key: sum(sizes.get(call, 1) for call in calls[key]) for key in ready}
        if not ready:
            break
    if len(sizes) < len(calls):
        raise UnreadableModel(f"{name} has local functions that call themselves")
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in _all_nodes(model.graph.node))
    if max(total, nodes) > _MOST_NODES:
        raise UnreadableModel(f"{name} unfolds to {total} operations, more than the {_MOST_NODES} allowed")


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _all_nodes(graph.node)
