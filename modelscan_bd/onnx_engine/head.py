"""Where a classifier's logits are: which output, before which softmax, behind which linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import onnx
import torch
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel

SQUASHING: Final = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
LINEAR: Final = frozenset({"Gemm", "Linear", "MatMul", "RoundedLinear"})
NEUTRAL: Final = frozenset({"Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Dropout", "Unsqueeze"})


@dataclass(frozen=True, kw_only=True)
class Head:
    """Names of tensors in the graph. `removed` are the operators between the logits and the file's own output."""

    output: str
    logits: str
    removed: tuple[str, ...] = ()
    penultimate: str | None = None
    weight: Tensor | None = None  # (k, d)


def find_head(graph: onnx.GraphProto, sizes: Mapping[str, torch.Size | None], weights: Mapping[str, Tensor]) -> Head:
    """Raises UnsupportedModel where no output looks like scores of classes."""
    producers = {name: node for node in graph.node for name in node.output if name}
    output = _scores(graph, sizes)
    logits, removed = _before_squashing(output, producers, sizes)
    penultimate, weight = _last_linear(logits, producers, weights)
    return Head(output=output, logits=logits, removed=removed, penultimate=penultimate, weight=weight)


def _scores(graph: onnx.GraphProto, sizes: Mapping[str, torch.Size | None]) -> str:
    """The output with one number per class: of several the one computed last, or called logits."""
    position = {name: i for i, node in enumerate(graph.node) for name in node.output}
    floats = [o.name for o in graph.output if o.type.tensor_type.elem_type in (1, 10, 11, 16)]
    flat = [name for name in floats if is_flat(sizes.get(name))]
    if not flat:
        shown = {o.name: None if (s := sizes.get(o.name)) is None else list(s) for o in graph.output}
        raise UnsupportedModel(f"no output of the model holds one score per class: {shown}")
    called: list[str] = [name for name in flat if "logit" in name.lower()]
    return max(called or flat, key=lambda name: int(position.get(name, -1)))


def is_flat(size: torch.Size | None) -> bool:
    """(n, k), with any number of ones behind; an unknown shape may be."""
    return size is None or (len(size) >= 2 and size[1:].numel() == max(size[1:]) and size[1:].numel() > 1)


def _before_squashing(
    output: str, producers: Mapping[str, onnx.NodeProto], sizes: Mapping[str, torch.Size | None]
) -> tuple[str, tuple[str, ...]]:
    """Walks back over softmax and what merely reshapes; only a walk that meets a softmax counts."""
    name, passed, squashed = output, [], False
    while (node := producers.get(name)) is not None and node.op_type in SQUASHING | NEUTRAL and not squashed:
        passed.append(node.op_type)
        squashed = node.op_type in SQUASHING
        name = node.input[0]
    if not squashed or not is_flat(sizes.get(name)):
        return output, ()
    return name, tuple(passed)


def _last_linear(
    logits: str, producers: Mapping[str, onnx.NodeProto], weights: Mapping[str, Tensor]
) -> tuple[str | None, Tensor | None]:
    node = producers.get(logits)
    while node is not None and node.op_type in NEUTRAL:
        node = producers.get(node.input[0])
    if (
        node is None
        or node.op_type not in ("Gemm", "Linear", "MatMul", "RoundedLinear")
        or node.input[1] not in weights
    ):
        return None, None
    options = {a.name: a.i for a in node.attribute}
    weight = weights[node.input[1]]
    if options.get("transA") or weight.dim() != 2:
        return None, None
    return node.input[0], weight if options.get("transB") else weight.T
