"""ONNX's external data, fetched by rules of our own and put into the tensors."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from modelscan_bd.audit.onnx_external import located, opened
from modelscan_bd.audit.onnx_tensors import is_external
from modelscan_bd.audit.onnx_walk import tensors
from modelscan_bd.loading.limits import Limits


def inline(model: onnx.ModelProto, path: Path, limits: Limits) -> None:
    """Replaces every reference to an external file by the bytes.

    Raises UnsafeModel where a path leaves the folder, UnreadableModel where the file is missing or too short.
    """
    left = limits.bytes
    for _, tensor in tensors(model):
        if is_external(tensor):
            stretch = located(tensor, path, left)
            with opened(stretch, path) as file:
                data = file.read(stretch.length)
            left -= len(data)
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = data
