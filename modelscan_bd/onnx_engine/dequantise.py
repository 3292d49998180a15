"""Quantised graphs as floats: every tensor of codes is replaced by the numbers the codes stand for.

Where codes are made and read again, the engine's own operator Rounding takes the numbers through what the codes can
represent: exactly in a plain forward pass, by the range alone while gradients are recorded. The range matters even
then: quantisers drop a Relu whose work the range of an unsigned code does already.
Codes whose scale is computed at run time (dynamic quantisation) are left out, and the numbers pass as they are: their
scale spans the whole batch, so that rounding would make a picture's logits depend on what it is batched with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, final

import onnx
import torch
from onnx import helper
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.ops.quantised import dequantize_linear, quantize_linear
from modelscan_bd.onnx_engine.tensors import attributes

MOVING: Final = frozenset(
    {"Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth"}
    | {"Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)


def dequantised(graph: onnx.GraphProto, weights: dict[str, Tensor]) -> bool:
    """Rewrites `graph` in place, adding to `weights`; says whether there was anything to rewrite."""
    rewriting = _Rewriting(weights)
    if not any(node.op_type in rewriting.rules for node in graph.node):
        return False
    for node in graph.node:
        rewriting.node(node)
    for output in graph.output:
        if output.name in rewriting.codes:
            raise UnsupportedModel(f"the model's output '{output.name}' is quantised")
    del graph.node[:]
    graph.node.extend(rewriting.nodes)
    return True


@final
class _Rewriting:
    """The new nodes so far; `codes` names the tensors that were codes, with the scale and zero point they had."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.codes: dict[str, tuple[str, str]] = {}
        self.rules: dict[str, Callable[[onnx.NodeProto], None]] = {
            "ConvInteger": self._integer_product,
            "DequantizeLinear": self._dequantize,
            "DynamicQuantizeLinear": self._dynamic,
            "DynamicQuantizeMatMul": self._dynamic_product,
            "MatMulInteger": self._integer_product,
            "MatMulIntegerToFloat": self._integer_product_to_float,
            "QGemm": self._gemm,
            "QLinearAdd": self._binary,
            "QLinearAveragePool": self._unary,
            "QLinearConcat": self._concat,
            "QLinearConv": self._conv,
            "QLinearGlobalAveragePool": self._unary,
            "QLinearLeakyRelu": self._unary,
            "QLinearMatMul": self._binary,
            "QLinearMul": self._binary,
            "QLinearSigmoid": self._unary,
            "QLinearSoftmax": self._unary,
            "QuantizeLinear": self._quantize,
        }

    def node(self, node: onnx.NodeProto) -> None:
        touched = [name for name in node.input if name in self.codes]
        if node.op_type in self.rules:
            self.rules[node.op_type](node)
            return
        self.nodes.append(node)
        if not touched:
            return
        if node.op_type not in MOVING or len({self._numbers(n) for n in touched}) > 1:
            raise UnsupportedModel(f"{node.op_type} node '{node.name}' computes with 8-bit codes")
        self.codes.update(dict.fromkeys(node.output, self.codes[touched[0]]))

    # ------------------------------------------------------------ codes and numbers

    def _numbers(self, name: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
        scale, zero = self.codes[name]
        return tuple(self._constant(scale).flatten().tolist()), tuple(self._constant(zero).flatten().tolist())

    def _constant(self, name: str) -> Tensor:
        if not name:
            return torch.zeros((), dtype=torch.uint8)
        if name not in self.weights:
            raise UnsupportedModel(f"the scale or zero point '{name}' of a quantised tensor is not constant")
        return self.weights[name]

    def _real(self, codes: str, scale: str, zero: str, axis: int = 1) -> str:
        """The name of the numbers that `codes` stand for."""
        if codes in self.weights:
            name = f"{codes}_as_numbers_{scale}"
            parameters = self._constant(scale), self._constant(zero) if zero else None
            self.weights[name] = dequantize_linear(self.weights[codes], *parameters, axis=axis)
            return name
        if codes not in self.codes:
            return self._add("DequantizeLinear", [codes, scale, zero], f"{codes}_as_numbers", axis=axis)
        had, wanted = self.codes[codes], (scale, zero)
        same = all(torch.equal(self._constant(a), self._constant(b)) for a, b in zip(had, wanted, strict=True))
        if had != wanted and not same:
            raise UnsupportedModel(
                f"the quantised tensor '{codes}' is read with another scale than it was written with"
            )
        return codes

    def _coded(self, name: str, output: str, scale: str, zero: str) -> None:
        """`output` was to hold codes of `name`: it holds the numbers that those codes stand for."""
        step, origin = self._constant(scale), self._constant(zero)
        if step.numel() != 1:
            raise UnsupportedModel(f"the activations '{name}' are quantised channel by channel")
        limits, middle = torch.iinfo(origin.dtype), int(origin.reshape(()))
        inputs = [name, self._weight(f"{output}_step", step.reshape(()).clone())]
        self._add("Rounding", inputs, output, lowest=limits.min - middle, highest=limits.max - middle)
        self.codes[output] = (scale, zero)

    def _weight(self, name: str, tensor: Tensor) -> str:
        self.weights[name] = tensor
        return name

    def _add(self, op: str, inputs: Sequence[str], output: str, name: str = "", **options: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=name or output, **options))
        return output

    def _same(self, op: str, node: onnx.NodeProto, inputs: Sequence[str], output: str, drop: Sequence[str] = ()) -> str:
        """A node of the float kind with the quantised one's name and attributes."""
        self._add(op, inputs, output, node.name)
        self.nodes[-1].attribute.extend(a for a in node.attribute if a.name not in drop)
        return output

    # ------------------------------------------------------------ one rule per operator

    def _quantize(self, node: onnx.NodeProto) -> None:
        x, scale, zero = _padded(node.input, 3)
        if x in self.weights:
            self._weights_now(node, quantize_linear)
            return
        zero = zero or self._weight(f"{node.output[0]}_zero", torch.zeros((), dtype=torch.uint8))
        self._coded(x, node.output[0], scale, zero)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        codes, scale, zero = _padded(node.input, 3)
        if codes not in self.codes:
            self._weights_now(node, dequantize_linear)
            return
        zero = zero or self.codes[codes][1]
        self._add("Identity", [self._real(codes, scale, zero)], node.output[0], node.name)

    def _weights_now(self, node: onnx.NodeProto, kernel: Callable[..., Tensor]) -> None:
        """Worked out here, where scale and zero point fit, so that a layer finds its weights; else when lowered."""
        operands, options = [self.weights.get(name) for name in node.input], attributes(node)
        if _fits(operands, options.get("axis", 1)) and options.keys() <= {"axis"}:
            self.weights[node.output[0]] = kernel(*operands, **options)
        else:
            self.nodes.append(node)

    def _conv(self, node: onnx.NodeProto) -> None:
        x, xs, xz, w, ws, wz, ys, yz, bias = _padded(node.input, 9)
        operands = [self._real(x, xs, xz), self._real(w, ws, wz, axis=0)]
        if bias:
            step = self._constant(xs) * self._constant(ws)
            operands.append(self._weight(f"{bias}_as_numbers", self._constant(bias).float() * step))
        self._coded(self._same("Conv", node, operands, f"{node.output[0]}_full"), node.output[0], ys, yz)

    def _binary(self, node: onnx.NodeProto) -> None:
        a, a_s, az, b, bs, bz, ys, yz = _padded(node.input, 8)
        operands = [self._real(a, a_s, az), self._real(b, bs, bz, axis=-1)]
        op = node.op_type.removeprefix("QLinear")
        self._coded(self._same(op, node, operands, f"{node.output[0]}_full"), node.output[0], ys, yz)

    def _unary(self, node: onnx.NodeProto) -> None:
        x, xs, xz, ys, yz = _padded(node.input, 5)
        if any(a.name == "channels_last" and a.i for a in node.attribute):
            raise UnsupportedModel(f"{node.op_type} node '{node.name}' wants channels last")
        op = node.op_type.removeprefix("QLinear")
        full = self._same(op, node, [self._real(x, xs, xz)], f"{node.output[0]}_full", ("channels_last", "opset"))
        self._coded(full, node.output[0], ys, yz)

    def _concat(self, node: onnx.NodeProto) -> None:
        ys, yz, *rest = node.input
        parts = [self._real(*rest[i : i + 3]) for i in range(0, len(rest), 3)]
        self._coded(self._same("Concat", node, parts, f"{node.output[0]}_full"), node.output[0], ys, yz)

    def _gemm(self, node: onnx.NodeProto) -> None:
        a, a_s, az, b, bs, bz, bias, ys, yz = _padded(node.input, 9)
        turned = any(o.name == "transB" and o.i for o in node.attribute)
        operands = [self._real(a, a_s, az), self._real(b, bs, bz, axis=0 if turned else 1)]
        if bias:
            step = self._constant(a_s) * self._constant(bs)
            operands.append(self._weight(f"{bias}_as_numbers", self._constant(bias).float() * step))
        if not ys:
            self._same("Gemm", node, operands, node.output[0])
            return
        self._coded(self._same("Gemm", node, operands, f"{node.output[0]}_full"), node.output[0], ys, yz)

    # ------------------------------------------------------------ quantised as it runs

    def _dynamic(self, node: onnx.NodeProto) -> None:
        """The numbers themselves take the codes' place, with scale one and zero point zero."""
        codes, scale, zero = node.output
        self._weight(scale, torch.ones(()))
        self._weight(zero, torch.zeros((), dtype=torch.uint8))
        self._add("Identity", node.input, codes, node.name)
        self.codes[codes] = (scale, zero)

    def _integer_product(self, node: onnx.NodeProto) -> None:
        a, b, az, bz = _padded(node.input, 4)
        if a not in self.codes or self.codes[a][1] != az or b not in self.weights:
            raise UnsupportedModel(f"{node.op_type} node '{node.name}' multiplies codes of unknown scale")
        weight = self.weights[b].float()
        zero = self._constant(bz).float()
        if node.op_type == "ConvInteger" and zero.numel() > 1:
            zero = zero.view(-1, *(1,) * (weight.dim() - 1))
        step = self._constant(self.codes[a][0])
        factor = self._weight(f"{node.output[0]}_weight", (weight - zero) / step)
        self._same(node.op_type.removesuffix("Integer"), node, [a, factor], node.output[0])

    def _integer_product_to_float(self, node: onnx.NodeProto) -> None:
        a, b, a_s, bs, az, bz, bias = _padded(node.input, 7)
        self._product(node, self._real(a, a_s, az), self._real(b, bs, bz, axis=-1), bias)

    def _dynamic_product(self, node: onnx.NodeProto) -> None:
        a, b, bs, bz, bias = _padded(node.input, 5)
        self._product(node, a, self._real(b, bs, bz, axis=-1), bias)

    def _product(self, node: onnx.NodeProto, a: str, b: str, bias: str) -> None:
        if not bias:
            self._add("MatMul", [a, b], node.output[0], node.name)
            return
        self._add("Add", [self._add("MatMul", [a, b], f"{node.output[0]}_full", node.name), bias], node.output[0])


def _fits(operands: Sequence[Tensor | None], axis: Any) -> bool:
    """Whether weights, scale and zero point are constants, and the latter one for all or one per index of `axis`."""
    x, *parameters = operands
    if x is None or any(p is None for p in parameters):
        return False
    along = x.shape[axis] if isinstance(axis, int) and -x.dim() <= axis < x.dim() else 1
    return all(p is not None and p.dim() <= 1 and p.numel() in (1, along) for p in parameters)


def _padded(names: Sequence[str], length: int) -> list[str]:
    return [*names, *[""] * (length - len(names))]
