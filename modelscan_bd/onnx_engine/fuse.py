"""A product with a constant matrix, and what is done to it next, become one linear layer under the product's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx
from torch import Tensor

from modelscan_bd.onnx_engine.order import used


def fuse_linear(graph: onnx.GraphProto, weights: Mapping[str, Tensor]) -> None:
    """Rewrites MatMul(x, W), and Add of a constant vector behind it, to the engine's own operator Linear."""
    readers = _readers(graph)
    products: dict[str, onnx.NodeProto] = {}
    absorbed: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMul" and _is_matrix(weights.get(node.input[1])):
            node.op_type = "Linear"
            products[node.output[0]] = node
        elif node.op_type == "Add":
            _absorb(node, products, readers, weights, absorbed)
    _drop(graph, absorbed)


def fuse_rounding(graph: onnx.GraphProto, weights: dict[str, Tensor]) -> None:
    """Rewrites Rounding behind a linear layer to the engine's own operator RoundedLinear."""
    readers = _readers(graph)
    linears = {n.output[0]: n for n in graph.node if n.op_type in ("Gemm", "Linear") and _is_plain(n, weights)}
    absorbed: set[str] = set()
    for node in graph.node:
        linear = linears.get(node.input[0]) if node.op_type == "Rounding" else None
        if linear is None or readers[node.input[0]] != 1:
            continue
        absorbed.add(node.input[0])
        x, matrix, *bias = linear.input
        if any(a.name == "transB" and a.i for a in linear.attribute):
            weights[f"{matrix}_turned"] = weights[matrix].T
            matrix = f"{matrix}_turned"
        inputs = [x, matrix, *(bias or [""]), node.input[1]]
        node.op_type, node.name = "RoundedLinear", linear.name or node.name
        del node.input[:]
        node.input.extend(inputs)
    _drop(graph, absorbed)


def _readers(graph: onnx.GraphProto) -> Counter[str]:
    readers = Counter(name for node in graph.node for name in used(node))
    readers.update(o.name for o in graph.output)
    return readers


def _is_plain(node: onnx.NodeProto, weights: Mapping[str, Tensor]) -> bool:
    """x W + b, or x Wᵀ + b, with constants W and b and no further factor."""
    factors = {a.name: a.f for a in node.attribute if a.name in ("alpha", "beta")}
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    constant = _is_matrix(weights.get(node.input[1])) and all(name in weights for name in node.input[2:] if name)
    return constant and not turned and all(f == 1 for f in factors.values())


def _drop(graph: onnx.GraphProto, outputs: set[str]) -> None:
    if not outputs:
        return
    kept = [n for n in graph.node if not outputs.intersection(n.output)]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept]
    del graph.node[:]
    graph.node.extend(copies)


def _absorb(
    add: onnx.NodeProto,
    products: Mapping[str, onnx.NodeProto],
    readers: Mapping[str, int],
    weights: Mapping[str, Tensor],
    absorbed: set[str],
) -> None:
    for product, bias in (tuple(add.input), tuple(reversed(add.input))):
        linear = products.get(product)
        if linear is None or readers[product] != 1 or len(linear.input) != 2:
            continue
        vector = weights.get(bias)
        if vector is not None and vector.shape == weights[linear.input[1]].shape[1:]:
            absorbed.add(product)
            add.op_type, add.name = "Linear", linear.name or add.name
            del add.input[:]
            add.input.extend([*linear.input, bias])
            return


def _is_matrix(weight: Tensor | None) -> bool:
    return weight is not None and weight.dim() == 2 and weight.is_floating_point()
