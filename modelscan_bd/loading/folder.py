"""A folder as timm and Hugging Face write it: config.json beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelscan_bd.errors import UnreadableModel, UnsupportedModel, UsageError
from modelscan_bd.loading import blob
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.metadata import Said, from_config

WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.onnx")  # in the order in which they are believed
_MOST_CONFIG = 2**20  # bytes


def weights_in(folder: Path, limits: Limits) -> tuple[Path, Said]:
    """The weights file of the folder and what config.json says. Raises UsageError where there is no such file."""
    if (folder / "saved_model.pb").exists():
        raise UnsupportedModel(
            f"{folder} is a TensorFlow SavedModel, which bdscan does not read", remedy="Export it to ONNX with tf2onnx."
        )
    if any(folder.glob("*.index.json")):
        raise UnsupportedModel(f"{folder} holds weights in several shards", remedy="Save them as one safetensors file.")
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise UsageError(f"{folder} holds none of {', '.join(WEIGHTS)}", remedy="Name the model file itself.")
    config = folder / "config.json"
    return found[0], read_config(config, limits) if config.is_file() else Said()


def read_config(path: Path, limits: Limits) -> Said:
    data = blob.read(path, limits).data
    try:
        config: Any = json.loads(data) if len(data) < _MOST_CONFIG else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UnreadableModel(f"{path} is no JSON table of a model's configuration")
    return from_config(config)
