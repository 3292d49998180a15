"""Functions become their nodes: those a file defines itself, and ONNX's composite operators without a kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.onnx_engine.limits import inner_graphs


def inlined(model: onnx.ModelProto) -> None:
    """Expands every call of a local function in place, subgraphs included. `model` has passed `Limits.check_model`."""
    if not model.functions:
        return
    functions = {(f.domain, f.name): f for f in model.functions}
    _expand_graph(model.graph, functions, _Names())
    for function in model.functions:
        _adopt_opsets(model, function)
    del model.functions[:]


class _Names:
    """Hands out prefixes for the inner tensors of each expanded call."""

    def __init__(self) -> None:
        self._count = 0

    def prefix(self, function: onnx.FunctionProto) -> str:
        self._count += 1
        return f"{function.name}_{self._count}_"


def _expand_graph(
    graph: onnx.GraphProto, functions: Mapping[tuple[str, str], onnx.FunctionProto], names: _Names
) -> None:
    nodes = [n for node in graph.node for n in _expanded(node, functions, names)]
    del graph.node[:]
    graph.node.extend(nodes)
    for inner in inner_graphs(graph.node):
        _expand_graph(inner, functions, names)


def _expanded(
    node: onnx.NodeProto, functions: Mapping[tuple[str, str], onnx.FunctionProto], names: _Names
) -> Iterator[onnx.NodeProto]:
    function = functions.get((node.domain, node.op_type))
    if function is None:
        yield node
        return
    for inner in body(node, function, names.prefix(function)):
        yield from _expanded(inner, functions, names)


def body(node: onnx.NodeProto, function: onnx.FunctionProto, prefix: str) -> list[onnx.NodeProto]:
    """The function's nodes with the call's tensors and attributes put in; inner names get `prefix`."""
    rename = dict(zip(function.input, [*node.input, *[""] * len(function.input)], strict=False))
    rename |= {f: o or f"{prefix}{f}" for f, o in zip(function.output, node.output, strict=False)}
    given = {a.name: a for a in function.attribute_proto} | {a.name: a for a in node.attribute}
    return [_instance(inner, rename, given, prefix) for inner in function.node]


def _instance(
    node: onnx.NodeProto, rename: Mapping[str, str], given: Mapping[str, onnx.AttributeProto], prefix: str
) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{prefix}{node.name}"
    _rename(copy.input, rename, prefix)
    _rename(copy.output, rename, prefix)
    _fill(copy, given)
    for graph in inner_graphs([copy]):
        _rename_graph(graph, rename, given, prefix)
    return copy


def _rename(names: Sequence[str], rename: Mapping[str, str], prefix: str) -> None:
    fresh = [rename.get(n, f"{prefix}{n}") if n else "" for n in names]
    del names[:]  # type: ignore[attr-defined]  # a protobuf list
    names.extend(fresh)  # type: ignore[attr-defined]


def _fill(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Attributes that refer to the function's own take the call's value, or vanish where it gave none."""
    filled = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in given:
                value = onnx.AttributeProto()
                value.CopyFrom(given[attribute.ref_attr_name])
                value.name = attribute.name
                filled.append(value)
        else:
            filled.append(attribute)
    filled = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in filled]
    del node.attribute[:]
    node.attribute.extend(filled)


def _rename_graph(
    graph: onnx.GraphProto, rename: Mapping[str, str], given: Mapping[str, onnx.AttributeProto], prefix: str
) -> None:
    for info in (*graph.input, *graph.output):
        info.name = rename.get(info.name, f"{prefix}{info.name}")
    for weight in graph.initializer:
        weight.name = rename.get(weight.name, f"{prefix}{weight.name}")
    instances = [_instance(node, rename, given, prefix) for node in graph.node]
    del graph.node[:]
    graph.node.extend(instances)


def _adopt_opsets(model: onnx.ModelProto, function: onnx.FunctionProto) -> None:
    present = {o.domain: o.version for o in model.opset_import}
    for opset in function.opset_import:
        if opset.domain not in present:
            model.opset_import.append(opset)
        elif opset.domain in ("", "ai.onnx") and present[opset.domain] != opset.version:
            raise UnreadableModel(f"the function '{function.name}' uses another ONNX operator set than the model does")
