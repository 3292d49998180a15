"""Files as torch's two exporters write them: same logits, same gradients, layers where a reader expects them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from modelscan_bd.onnx_engine import convert, to_torch
from modelscan_bd.onnx_engine.batch import share_of_batch
from modelscan_bd.onnx_engine.ops.kinds import numbers_of, scalar_of
from modelscan_bd.onnx_engine.ops.shaping import shape
from modelscan_bd.types import Layout, Output

Export = Callable[..., onnx.ModelProto]


def gradient(net: nn.Module, x: Tensor) -> Tensor:
    images = x.clone().requires_grad_(True)
    return torch.autograd.grad(net(images).pow(2).sum(), images)[0]


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_logits_and_gradients_are_the_nets_own(net: nn.Module, dynamo: bool, export: Export) -> None:
    found = convert(export(net, dynamo=dynamo))
    x = torch.randn(5, 3, 32, 32)
    assert found.differentiable, found.notes
    assert torch.allclose(found.module(x), net(x), atol=1e-5)
    assert torch.allclose(gradient(found.module, x), gradient(net, x), rtol=1e-3, atol=1e-5)
    assert (found.classes, found.shape, found.layout) == (10, (3, 32, 32), Layout.NCHW)
    assert found.output is Output.LOGITS
    assert found.parity is not None
    assert found.parity.difference < 1e-5


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_older_opsets(small_net: nn.Module, opset: int, export: Export) -> None:
    x = torch.randn(3, 3, 32, 32)
    assert torch.allclose(to_torch(export(small_net, opset=opset))(x), small_net(x), atol=1e-5)


@pytest.mark.parametrize(("dynamo", "batch"), [(True, 1), (False, 1), (False, 2)])
def test_a_fixed_batch_is_freed(net: nn.Module, batch: int, dynamo: bool, export: Export) -> None:
    found = convert(export(net, dynamo=dynamo, batch=batch))
    assert found.differentiable, found.notes
    for n in (1, 2, 5):
        x = torch.randn(n, 3, 32, 32)
        assert torch.allclose(found.module(x), net(x), atol=1e-5)
        assert torch.allclose(gradient(found.module, x), gradient(net, x), rtol=1e-3, atol=1e-5)


def test_the_head_is_a_linear_layer_that_hooks_can_watch(net: nn.Module, export: Export) -> None:
    found = convert(export(net))
    seen: dict[str, Tensor] = {}
    heads = {n: m for n, m in found.module.named_modules() if isinstance(m, nn.Linear) and m.out_features == 10}
    (head,) = heads.values()
    head.register_forward_hook(lambda _, args, out: seen.update(features=args[0], logits=out))
    logits = found.module(torch.randn(2, 3, 32, 32))
    assert torch.equal(seen["logits"], logits)
    assert found.head_weight is not None
    assert torch.allclose(found.head_weight, net.get_submodule("head").weight)
    assert torch.allclose(head.weight, found.head_weight)


def test_weighted_nodes_are_layers(small_net: nn.Module, export: Export) -> None:
    kinds = [type(m) for m in to_torch(export(small_net)).modules()]
    assert kinds.count(nn.Conv2d) == 2
    assert kinds.count(nn.Linear) == 1


def test_a_product_and_its_bias_are_one_layer(net: nn.Module, export: Export) -> None:
    linear = [m for m in to_torch(export(net)).modules() if isinstance(m, nn.Linear)]
    expected = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert sorted(m.out_features for m in linear) == sorted(m.out_features for m in expected)
    assert all(m.bias is not None for m in linear)


def test_an_open_picture_size(small_net: nn.Module, tmp_path: Path) -> None:
    """Shapes are then worked out when the net runs."""
    path, axes = tmp_path / "open.onnx", {"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n"}}
    example = (torch.randn(2, 3, 32, 32),)
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(small_net, example, str(path), dynamo=False, opset_version=17, **names)
    found = convert(onnx.load(path))
    assert found.differentiable, found.notes
    assert found.shape == (3, None, None)
    for side in (24, 40):
        x = torch.randn(2, 3, side, side)
        assert torch.allclose(found.module(x), small_net(x), atol=1e-5)


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        ([4, 4, 4], (0, 1, 4)),
        ([2, 3, 7], (1, 1, 0)),
        ([9, 13, 29], (4, 1, 1)),
        ([1, 1.5, 3.5], None),
        ([4, 9, 49], None),
    ],
)
def test_numbers_that_follow_the_batch(seen: list[float], share: tuple[int, int, int] | None) -> None:
    assert share_of_batch(seen, (2, 3, 7)) == share


def test_shapes_are_numbers_not_tensors(export: Export) -> None:
    """Reshape and its like must not read tensors at run time: torch.compile and speed depend on it."""

    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            n, c, h, w = x.shape
            blocks = x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5)
            return blocks.reshape(n * (h // 4) * (w // 4), c * 16).reshape(n, -1)[:, :10] * 1.0

    module = to_torch(export(Views()))
    assert not {node.target for node in module.graph.nodes} & {numbers_of, scalar_of, shape}  # type: ignore[union-attr]
    x = torch.randn(5, 3, 32, 32)
    assert torch.allclose(module(x), Views()(x))


def test_softmax_is_left_out(small_net: nn.Module, export: Export) -> None:
    found = convert(export(nn.Sequential(small_net, nn.Softmax(1))))
    x = torch.randn(4, 3, 32, 32)
    assert found.output is Output.LOGITS
    assert torch.allclose(found.module(x), small_net(x), atol=1e-5)
    assert any("Softmax" in rewrite for rewrite in found.rewrites)


def test_probabilities_that_cannot_be_undone_are_said_to_be(small_net: nn.Module, export: Export) -> None:
    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net

        def forward(self, x: Tensor) -> Tensor:
            return (self.net(x).softmax(1) + self.net(x.flip(3)).softmax(1)) / 2

    assert convert(export(Ensemble())).output is Output.PROBABILITIES


def test_of_several_outputs_the_scores_are_taken(build: Callable[..., onnx.ModelProto]) -> None:
    rng = torch.Generator().manual_seed(0)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1),
    ]
    weights = {"w": torch.randn(3, 7, generator=rng).numpy()}
    model = build(nodes, weights, outputs=("features", "scores"))
    found = convert(model)
    assert (found.logits, found.penultimate, found.classes) == ("scores", "features", 7)


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_torch_compile_takes_the_whole_graph(net: nn.Module, dynamo: bool, export: Export) -> None:
    module = to_torch(export(net, dynamo=dynamo))
    x = torch.randn(3, 3, 32, 32)
    assert torch.allclose(torch.compile(module, fullgraph=True)(x), module(x), atol=1e-5)
