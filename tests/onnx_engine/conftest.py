"""Small graphs, written down or exported from small nets; nothing here is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

Build = Callable[..., onnx.ModelProto]


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)


@pytest.fixture
def build() -> Build:
    """Writes a model of nodes, weights, and one picture 'x' in, one tensor 'y' out."""

    def model(
        nodes: Sequence[onnx.NodeProto],
        weights: dict[str, Any] | None = None,
        *,
        shape: Sequence[int | str] = ("n", 3, 8, 8),
        kind: int = TensorProto.FLOAT,
        outputs: Sequence[str] = ("y",),
        opset: int = 21,
        functions: Sequence[onnx.FunctionProto] = (),
        domains: Sequence[str] = (),
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info("x", kind, list(shape))],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
            [numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()],
        )
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)

    return model


class SmallNet(nn.Module):
    """Convolution, batch normalisation, pooling and a linear head."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


class Attends(nn.Module):
    """Patches, one attention block, a class token: the shape arithmetic of a transformer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.norm = nn.LayerNorm(24)
        self.qkv = nn.Linear(24, 72)
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        t = self.patches(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(t.shape[0], -1, -1), t], 1)
        n, length, width = t.shape
        q, k, v = self.qkv(self.norm(t)).reshape(n, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = torch.softmax(q @ k.transpose(-2, -1) / 3.0, -1) @ v
        return self.head((t + mixed.transpose(1, 2).reshape(n, length, width))[:, 0])  # type: ignore[no-any-return]


@pytest.fixture(params=[SmallNet, Attends])
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return request.param().eval().requires_grad_(False)  # type: ignore[no-any-return]


@pytest.fixture
def small_net() -> nn.Module:
    torch.manual_seed(0)
    return SmallNet().eval().requires_grad_(False)


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., onnx.ModelProto]:
    """Exports a net by one of torch's two exporters, with a free batch or one of `batch` images."""

    def write(net: nn.Module, *, dynamo: bool = False, batch: int | None = None, opset: int = 17) -> onnx.ModelProto:
        path, example = tmp_path / "model.onnx", (torch.randn(batch or 2, 3, 32, 32),)
        free: dict[str, Any] = {}
        if batch is None and dynamo:
            free = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=64)},)}
        elif batch is None:
            free = {"dynamic_axes": {"input": {0: "batch"}, "logits": {0: "batch"}}}
        kind: dict[str, Any] = (
            {"dynamo": True, "verbose": False} if dynamo else {"dynamo": False, "opset_version": opset}
        )
        torch.onnx.export(
            net.eval(), example, str(path), input_names=["input"], output_names=["logits"], **kind, **free
        )
        return onnx.load(path)

    return write


@pytest.fixture
def judged() -> Callable[[onnx.ModelProto, Tensor], Tensor]:
    """What onnxruntime makes of a model: its first output."""

    def run(model: onnx.ModelProto, x: Tensor) -> Tensor:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])

    return run
