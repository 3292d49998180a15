"""The gate catches what it is there for, and what fails it is a black box with the reason, never a wrong module."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine import convert, to_torch
from modelscan_bd.onnx_engine.gate import compare, gradient_error, pictures
from modelscan_bd.onnx_engine.reference import InParts, Reference, in_parts

Build = Callable[..., onnx.ModelProto]
Export = Callable[..., onnx.ModelProto]


class Straight(torch.autograd.Function):
    """Rounds, and claims that it does not: the wrong gradient that the gate must see."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient


class Lying(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(Straight.apply(x))  # type: ignore[no-any-return]


class Cut(nn.Module):
    """Half of the picture reaches the logits without a gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.cat([x[..., :16].detach(), x[..., 16:]], -1))  # type: ignore[no-any-return]


def test_a_true_gradient_passes_and_false_ones_do_not(net: nn.Module) -> None:
    x = pictures((3, 32, 32), 1, raw=False, seed=0)
    assert gradient_error(net, x) < 5e-3
    assert gradient_error(Lying(net), x) > 0.1
    assert gradient_error(Cut(net), x) > 0.1


def test_a_detached_module_has_no_gradient(small_net: nn.Module) -> None:
    class Detached(Lying):
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.detach())  # type: ignore[no-any-return]

    assert gradient_error(Detached(small_net), torch.randn(1, 3, 32, 32)) == float("inf")


def test_other_outputs_are_seen(small_net: nn.Module, export: Export) -> None:
    model = export(small_net)
    module, x = to_torch(model), pictures((3, 32, 32), 3, raw=False, seed=0)
    assert compare(module, Reference(model), "logits", [x], None).difference < 1e-5
    with torch.no_grad():
        next(module.parameters()).mul_(1.01)
    assert compare(module, Reference(model), "logits", [x], None).difference > 1e-3


def test_an_unknown_operator_makes_a_black_box(
    small_net: nn.Module, export: Export, judged: Callable[..., Tensor]
) -> None:
    """A fused operator of onnxruntime's own: it runs, so the file can be looked at, but without gradients."""
    model = export(small_net)
    for node in model.graph.node:
        if node.op_type == "Gemm":
            node.op_type, node.domain = "FusedGemm", "com.microsoft"
            node.attribute.append(helper.make_attribute("activation", "Relu"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = convert(model)
    assert not found.differentiable
    assert "FusedGemm" in found.notes[0]
    x = torch.randn(5, 3, 32, 32)
    assert torch.allclose(found.module(x), judged(model, x))
    assert torch.equal(copy.deepcopy(found.module)(x), found.module(x))
    with pytest.raises(UnsupportedModel, match="FusedGemm"):
        to_torch(model)


def test_both_branches_run_where_the_picture_decides(build: Build) -> None:
    def branch(scale: float) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Constant", [], ["k"], value_float=scale),
            helper.make_node("Mul", ["f", "k"], ["r"]),
        ]
        return helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("r", 1, None)])

    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch(1.0), else_branch=branch(2.0)),
    ]
    found = convert(build(nodes, {"zero": np.float32(0)}))
    dark, light = torch.full((2, 3, 8, 8), -1.0), torch.full((2, 3, 8, 8), 1.0)
    assert found.differentiable
    assert torch.equal(found.module(dark), 2 * dark.flatten(1))
    assert torch.equal(found.module(light), light.flatten(1))


def test_what_overflows_on_both_sides_is_the_same(build: Build) -> None:
    """A detector of patterns by high powers, as architectural backdoors have it, once went without gradients."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Pow", ["f", "p"], ["y"]),
    ]
    shape = ("n", 3, 4, 4)
    assert convert(build(nodes, {"p": np.float32(150)}, shape=shape)).differentiable


def test_what_runs_nowhere_is_refused(build: Build) -> None:
    with pytest.raises(UnsupportedModel, match="onnxruntime cannot"):
        convert(build([helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")], domains=("acme",)))


def test_no_image_classifier_is_refused(build: Build) -> None:
    flatten = helper.make_node("Flatten", ["x"], ["y"])
    with pytest.raises(UnsupportedModel, match="axes"):
        convert(build([flatten], shape=("n", 10)))
    with pytest.raises(UnsupportedModel, match="one score per class"):
        convert(build([helper.make_node("Relu", ["x"], ["y"])]))


def test_parts_of_one_size(small_net: nn.Module) -> None:
    x = torch.randn(5, 3, 32, 32)
    assert [len(part) for part in in_parts(x, 2)] == [2, 2, 2]
    assert torch.allclose(InParts(small_net, 2)(x), small_net(x), atol=1e-6)
