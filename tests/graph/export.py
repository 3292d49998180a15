"""A network as an ONNX model in memory, by either of torch's exporters, with a free batch; and what it answers."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

OPSET = 17


def to_onnx(net: nn.Module, example: Tensor, *, dynamo: bool = False) -> onnx.ModelProto:
    """`example` must hold two images or more: the newer exporter takes a batch of one for a constant."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        if dynamo:
            free = ({0: torch.export.Dim("n", min=1, max=1024)},)
            torch.onnx.export(net, (example,), file, dynamo=True, dynamic_shapes=free, verbose=False)
        else:
            torch.onnx.export(
                net, (example,), str(file), dynamo=False, opset_version=OPSET, input_names=["input"],
                output_names=["logits"], dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}},
            )  # fmt: skip
        return onnx.load(file)


def answers(model: onnx.ModelProto, images: Tensor) -> Tensor:
    """The first output, by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
