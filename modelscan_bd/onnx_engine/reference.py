"""onnxruntime: the judge of every conversion, and the way out where there is none."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from modelscan_bd.errors import UnsupportedModel

_PROTOBUF_CEILING = 1_900_000_000  # bytes: beyond two gigabytes protobuf does not serialise
_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


@final
class Reference:
    """An onnxruntime session on the CPU: few threads, no custom operators, and a time limit on every run."""

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        extra: Sequence[onnx.ValueInfoProto] = (),
        threads: int = 2,
        seconds: float = 120.0,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._seconds = seconds
        try:
            self._session = _session(model, options, extra)
        except Exception as why:  # onnxruntime raises classes of its own, without a common base
            reason = str(why).split("\n")[0][:200]
            raise UnsupportedModel(f"onnxruntime cannot load the model: {reason}") from why
        inputs = self._session.get_inputs()
        self.input = inputs[0].name if inputs else ""
        self.dtype = _NUMPY.get(inputs[0].type, np.float32) if inputs else np.float32
        self.outputs = tuple(o.name for o in self._session.get_outputs())

    def __deepcopy__(self, memo: dict[int, object]) -> Reference:
        """A session is never changed, so a copy of a module shares it."""
        return self

    def run(self, x: Tensor, output: str) -> Tensor:
        """One output for one input, in the input's own type. Raises UnsupportedModel where onnxruntime fails."""
        options = ort.RunOptions()
        watch = threading.Timer(self._seconds, setattr, (options, "terminate", True))
        watch.start()
        try:
            feed = {self.input: x.detach().cpu().numpy().astype(self.dtype)}
            (y,) = self._session.run([output], feed, options)
        except Exception as why:  # as above
            reason = str(why).split("\n")[0][:200]
            raise UnsupportedModel(f"onnxruntime cannot run the model: {reason}") from why
        finally:
            watch.cancel()
        return torch.from_numpy(np.asarray(y))


def _session(
    model: onnx.ModelProto, options: ort.SessionOptions, extra: Sequence[onnx.ValueInfoProto]
) -> ort.InferenceSession:
    """`extra` tensors become outputs too: appended to a serialised message, a message is merged into it."""
    providers = ["CPUExecutionProvider"]
    addition = onnx.ModelProto(graph=onnx.GraphProto(output=extra)).SerializeToString()
    if model.ByteSize() < _PROTOBUF_CEILING:
        return ort.InferenceSession(model.SerializeToString() + addition, options, providers=providers)
    with tempfile.TemporaryDirectory(prefix="bdscan-") as folder:
        path = Path(folder) / "model.onnx"
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.MergeFromString(addition)
        onnx.save_model(copy, path, save_as_external_data=True, location="weights")
        return ort.InferenceSession(str(path), options, providers=providers)


@final
class BlackBox(nn.Module):
    """Forward only: onnxruntime behind the face of a torch module. `batch` is the size the file was fixed at."""

    def __init__(self, reference: Reference, output: str, batch: int | None) -> None:
        super().__init__()
        self._reference = reference
        self._output = output
        self._batch = batch

    def forward(self, x: Tensor) -> Tensor:
        parts = [x] if self._batch is None else in_parts(x, self._batch)
        results = [self._reference.run(part, self._output).float() for part in parts]
        return torch.cat(results)[: len(x)].to(x.device)


def in_parts(x: Tensor, batch: int) -> list[Tensor]:
    """Parts of exactly `batch` images; the last image fills up the last part."""
    missing = -len(x) % batch
    whole = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x
    return list(whole.split(batch))


@final
class InParts(nn.Module):
    """A module that can do one batch size only, run as often as needed."""

    def __init__(self, module: nn.Module, batch: int) -> None:
        super().__init__()
        self.module = module
        self._batch = batch

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if len(x) == self._batch:
            return self.module(x)  # type: ignore[no-any-return]
        results = [self.module(part) for part in in_parts(x, self._batch)]
        if isinstance(results[0], tuple):
            return tuple(torch.cat(column)[: len(x)] for column in zip(*results, strict=True))
        return torch.cat(results)[: len(x)]
