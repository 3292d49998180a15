"""How much a file may ask for. Everything here is counted from the file's own claims, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
from torch import Tensor

from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.onnx_engine.tensors import dtype_of, elements


class TooMuch(UnsupportedModel):
    """The file asks for more than any classifier needs; it is not run by any means."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Ceilings far above any image classifier's needs."""

    nodes: int = 25_000  # after local functions are expanded and loops unrolled
    depth: int = 16  # subgraphs within subgraphs, functions within functions
    elements: int = 2**30  # of one tensor
    folded: int = 2**28  # elements of all constants that the engine works out, together
    trips: int = 200  # of one loop

    def check_results(self, op: str, name: str, results: Sequence[Tensor]) -> None:
        """Raises TooMuch where one result of a node would be larger than allowed."""
        for result in results:
            if result.numel() > self.elements:
                raise TooMuch(f"{op} node '{name}' asks for a tensor of {result.numel():,} elements")

    def check_model(self, model: onnx.ModelProto) -> None:
        """Counts nodes, nesting and claims. Raises TooMuch, or UnreadableModel where functions call themselves."""
        for graph in graphs(model.graph, self):
            for weight in graph.initializer:
                self._check_claim(weight)
        for info in model.graph.input:
            self._check_input(info)
        expansion = _Expansion(model, self)
        total = sum(expansion.size(node) for graph in graphs(model.graph, self) for node in graph.node)
        if total > self.nodes:
            raise TooMuch(
                f"the model has {total:,} nodes once its functions are expanded; at most {self.nodes:,} are read"
            )

    def _check_claim(self, tensor: onnx.TensorProto) -> None:
        if elements(list(tensor.dims)) > self.elements:
            raise TooMuch(f"the weights '{tensor.name}' claim the shape {list(tensor.dims)}")

    def _check_input(self, info: onnx.ValueInfoProto) -> None:
        if not info.type.HasField("tensor_type"):
            raise UnsupportedModel(f"the model's input '{info.name}' is not a tensor")
        dtype_of(info.type.tensor_type.elem_type)
        if elements([d.dim_value for d in info.type.tensor_type.shape.dim]) > self.elements:
            raise TooMuch(f"the model's input '{info.name}' claims an impossible size")


def graphs(graph: onnx.GraphProto, limits: Limits, depth: int = 0) -> Iterator[onnx.GraphProto]:
    """The graph and all graphs inside its nodes. Raises TooMuch beyond the allowed depth."""
    if depth > limits.depth:
        raise TooMuch(f"the model nests graphs more than {limits.depth} deep")
    yield graph
    for inner in inner_graphs(graph.node):
        yield from graphs(inner, limits, depth + 1)


def inner_graphs(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


class _Expansion:
    """How many nodes a call of a local function becomes, counted once per function, whatever the number of calls."""

    def __init__(self, model: onnx.ModelProto, limits: Limits) -> None:
        self._functions = {(f.domain, f.name): f for f in model.functions}
        self._sizes: dict[tuple[str, str], int] = {}
        self._limits = limits

    def size(self, node: onnx.NodeProto, depth: int = 0) -> int:
        key = (node.domain, node.op_type)
        if key not in self._functions:
            return 1
        if depth > self._limits.depth:
            raise UnreadableModel(
                f"the function '{node.op_type}' calls itself, or nests more than {self._limits.depth} deep"
            )
        if key not in self._sizes:
            nodes = self._functions[key].node
            inside = [n for graph in inner_graphs(nodes) for part in graphs(graph, self._limits) for n in part.node]
            self._sizes[key] = sum(self.size(inner, depth + 1) for inner in (*nodes, *inside))
        return self._sizes[key]
