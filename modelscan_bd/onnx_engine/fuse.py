"""A product with a constant matrix, and the bias added to it, become one linear layer under the product's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx
from torch import Tensor

from modelscan_bd.onnx_engine.order import used


def fuse_linear(graph: onnx.GraphProto, weights: Mapping[str, Tensor]) -> None:
    """Rewrites MatMul(x, W), and Add of a constant vector behind it, to the engine's own operator Linear."""
    readers = Counter(name for node in graph.node for name in used(node))
    readers.update(o.name for o in graph.output)
    products: dict[str, onnx.NodeProto] = {}
    absorbed: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMul" and _is_matrix(weights.get(node.input[1])):
            node.op_type = "Linear"
            products[node.output[0]] = node
        elif node.op_type == "Add":
            _absorb(node, products, readers, weights, absorbed)
    kept = [n for n in graph.node if n.op_type != "Linear" or n.output[0] not in absorbed]
    if absorbed:
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
