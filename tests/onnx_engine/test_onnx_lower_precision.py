"""Quantised and half-precision files become floats that decide as the file does, and have gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from modelscan_bd.onnx_engine import convert, to_torch
from modelscan_bd.onnx_engine.gate import gradient_error, in_double
from modelscan_bd.types import Layout

quantization = pytest.importorskip("onnxruntime.quantization")
Export = Callable[..., onnx.ModelProto]
Judge = Callable[[onnx.ModelProto, Tensor], Tensor]


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Four batches of noise."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._batches: Iterator[dict[str, Any]] = iter(
            [{"input": rng.normal(size=(8, 3, 32, 32)).astype("f4")} for _ in range(4)]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


@pytest.fixture
def quantised(tmp_path: Path, export: Export) -> Callable[..., onnx.ModelProto]:
    def make(net: nn.Module, form: str, per_channel: bool = False) -> onnx.ModelProto:
        source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
        onnx.save(export(net), source)
        if form == "dynamic":
            quantization.quantize_dynamic(source, target, weight_type=quantization.QuantType.QUInt8)
        else:
            form = quantization.QuantFormat[form]
            quantization.quantize_static(source, target, Calibration(), quant_format=form, per_channel=per_channel)
        return onnx.load(target)

    return make


def agrees(module: nn.Module, model: onnx.ModelProto, judged: Judge, n: int = 256) -> float:
    """The share of noise images that get one label from both."""
    x = torch.randn(n, 3, 32, 32)
    return float((module(x).argmax(1) == judged(model, x).argmax(1)).float().mean())


@pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_static_quantisation(form: str, per_channel: bool, small_net: nn.Module, quantised: Any, judged: Judge) -> None:
    model = quantised(small_net, form, per_channel)
    found = convert(model)
    assert found.differentiable, found.notes
    assert any("8-bit" in rewrite for rewrite in found.rewrites)
    assert agrees(found.module, model, judged) >= 0.99
    assert found.parity is not None
    assert found.parity.gradient is not None
    assert found.parity.gradient < 1e-3


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_plain_pass_rounds_as_the_file_does(form: str, small_net: nn.Module, quantised: Any, judged: Judge) -> None:
    """And a pass that records gradients differs from it by the rounding noise of the file, no more."""
    model = quantised(small_net, form)
    module, x = to_torch(model), torch.randn(64, 3, 32, 32)
    theirs, exact, smooth = judged(model, x), module(x), module(x.requires_grad_(True)).detach()
    assert float((exact - theirs).abs().mean()) < 0.1 * float((smooth - theirs).abs().mean())
    assert 0 < float((exact - smooth).abs().max()) < 0.05 * float(theirs.abs().max())


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_gradients_are_those_of_the_clipped_net(form: str, small_net: nn.Module, quantised: Any) -> None:
    module, x = to_torch(quantised(small_net, form)), torch.randn(2, 3, 32, 32)
    assert gradient_error(module, x) < 1e-3
    x.requires_grad_(True)
    ours, native = (torch.autograd.grad(m(x).pow(2).sum(), x)[0] for m in (module, small_net))
    assert float((ours - native).norm() / native.norm()) < 0.2


def test_one_pair_of_quantise_and_dequantise(build: Callable[..., onnx.ModelProto], judged: Judge) -> None:
    """Halves and both ends of the range: onnxruntime's numbers exactly, or the clip and its derivative."""
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make("DequantizeLinear", ["q", "s", "z"], ["d"]),
        make("Flatten", ["d"], ["y"]),
    ]
    model = build(nodes, {"s": np.float32(0.5), "z": np.int8(3)}, shape=("n", 1, 1, 8))
    module, low, high = to_torch(model), -65.5, 62.0
    x = (torch.arange(-300, 300) / 4).reshape(-1, 1, 1, 8)
    assert torch.equal(module(x), judged(model, x))
    leaf = x.clone().requires_grad_(True)
    smooth = module(leaf)
    assert torch.equal(smooth, x.flatten(1).clamp(low, high))
    assert float((smooth.detach() - module(x)).abs().max()) == 0.25
    slope = torch.autograd.grad(smooth.sum(), leaf)[0]
    assert torch.equal(slope, ((x >= low) & (x <= high)).float())
    with torch.no_grad():
        assert torch.equal(module(leaf), module(x))
    anywhere = (torch.rand(2, 1, 1, 8, dtype=torch.float64) * 200 - 100).requires_grad_(True)
    assert torch.autograd.gradcheck(in_double(module), (anywhere,))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_the_head_is_a_linear_layer_that_returns_the_logits(form: str, small_net: nn.Module, quantised: Any) -> None:
    """Its rounding is part of it; else what a hook on it sees would be logits of another net."""
    found, seen = convert(quantised(small_net, form)), []
    (head,) = (m for m in found.module.modules() if isinstance(m, nn.Linear))
    head.register_forward_hook(lambda *call: seen.append(call[-1]))
    x = torch.randn(4, 3, 32, 32)
    for images in (x, x.clone().requires_grad_(True)):
        assert torch.equal(found.module(images), seen[-1])
    assert found.head_weight is not None
    assert torch.equal(head.weight, found.head_weight)
    assert torch.allclose(head.weight, small_net.get_submodule("head").weight, atol=0.005)


def test_the_range_of_the_codes_is_kept(small_net: nn.Module, quantised: Any) -> None:
    """Quantisers drop a Relu whose work an unsigned code does: without its range the values would be other ones."""
    model = quantised(small_net, "QDQ")
    assert not any(node.op_type == "Relu" for node in model.graph.node)
    x = torch.randn(8, 3, 32, 32)
    ours, native = convert(model).module(x), small_net(x)
    assert float((ours - native).abs().max() / native.abs().max()) < 0.05


def test_dynamic_quantisation(small_net: nn.Module, quantised: Any, judged: Judge) -> None:
    model = quantised(small_net, "dynamic")
    found = convert(model)
    assert found.differentiable, found.notes
    assert agrees(found.module, model, judged) >= 0.99
    x = torch.randn(4, 3, 32, 32, requires_grad=True)
    ours = torch.autograd.grad(found.module(x).pow(2).sum(), x)[0]
    native = torch.autograd.grad(small_net(x).pow(2).sum(), x)[0]
    assert float((ours - native).norm() / native.norm()) < 0.1


@pytest.mark.parametrize("keep_io_types", [True, False])
def test_half_precision(keep_io_types: bool, small_net: nn.Module, export: Export) -> None:
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    found = convert(float16.convert_float_to_float16(export(small_net), keep_io_types=keep_io_types))
    assert found.differentiable, found.notes
    x = torch.randn(64, 3, 32, 32)
    assert found.module(x).dtype is torch.float32
    assert torch.allclose(found.module(x), small_net(x), atol=0.02)
    assert torch.equal(found.module(x).argmax(1), small_net(x).argmax(1))


def test_half_precision_by_its_declared_types(small_net: nn.Module, export: Export) -> None:
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    module = to_torch(float16.convert_float_to_float16(export(small_net)))
    assert module(torch.randn(2, 3, 32, 32).half()).dtype is torch.float16


def test_bytes_in_rows_with_preprocessing_in_the_graph(small_net: nn.Module, export: Export, judged: Judge) -> None:
    model = export(small_net)
    make, mean, std = helper.make_node, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    before = [
        make("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        make("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        make("Div", ["t", "white"], ["u"]),
        make("Sub", ["u", "mean"], ["v"]),
        make("Div", ["v", "std"], ["input"]),
    ]
    nodes = [*before, *model.graph.node]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])],
        list(model.graph.output),
        [
            *model.graph.initializer,
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
            helper.make_tensor("mean", TensorProto.FLOAT, [1, 3, 1, 1], mean),
            helper.make_tensor("std", TensorProto.FLOAT, [1, 3, 1, 1], std),
        ],
    )
    raw = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    found = convert(raw)
    assert found.differentiable, found.notes
    assert (found.layout, found.shape) == (Layout.NHWC, (3, 32, 32))
    assert (found.hints.scale, found.hints.mean) == (255.0, (0.0, 0.0, 0.0))
    image = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    assert torch.allclose(found.module(image.float()), judged(raw, image), atol=1e-5)
    pixels = image.float().requires_grad_(True)
    assert torch.autograd.grad(found.module(pixels).sum(), pixels)[0].abs().sum() > 0


def test_codes_that_other_operators_compute_with_are_not_guessed(build: Callable[..., onnx.ModelProto]) -> None:
    """Adding codes is not adding numbers: such a file is left to onnxruntime, with the reason."""
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make("Add", ["q", "q"], ["r"], name="sum"),
        make("DequantizeLinear", ["r", "s", "z"], ["d"]),
        make("Flatten", ["d"], ["y"]),
    ]
    found = convert(build(nodes, {"s": np.float32(0.1), "z": np.int8(0)}))
    assert not found.differentiable
    assert "8-bit codes" in found.notes[0]
