"""Every file is brought to one opset, so that each operator needs one kernel only."""

from __future__ import annotations

import dataclasses
from typing import Final

import onnx
from onnx import helper, version_converter

from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.onnx_engine.source import Source, declared

OPSET: Final = 21  # operators kept their meaning since; newer files are taken as they are
_TRAINING_MODE: Final = 14  # the opset that made training statistics an attribute
DEFAULT_DOMAINS: Final = ("", "ai.onnx")


def opset_of(model: onnx.ModelProto) -> int:
    """Raises UnreadableModel where the file does not say."""
    versions = [o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS]
    if not versions:
        raise UnreadableModel("the model does not say which ONNX operator set it uses")
    return int(max(versions))


def normalised(source: Source) -> Source:
    """The same graph at opset 21 or newer, by ONNX's own converter. Raises UnsupportedModel where that fails."""
    version = opset_of(source.model)
    if version >= OPSET:
        return source
    if version < _TRAINING_MODE:
        _hide_training_statistics(source.model)
    try:
        converted = version_converter.convert_version(declared(source), OPSET)
    except (RuntimeError, ValueError, version_converter.ConvertError, onnx.shape_inference.InferenceError) as why:
        reason = str(why).split("\n")[0][:200]
        raise UnsupportedModel(f"the model's operator set {version} cannot be brought to {OPSET}: {reason}") from why
    present = [i for i in converted.graph.input if i.name not in source.weights]
    del converted.graph.input[:]
    converted.graph.input.extend(present)
    return dataclasses.replace(source, model=converted)


def _hide_training_statistics(model: onnx.ModelProto) -> None:
    """Before opset 14 a batch normalisation with five outputs uses the statistics of its input, not the stored ones.

    Exporters write weight standardisation that way. ONNX's converter refuses it, and passes over other domains.
    """
    model.opset_import.append(helper.make_opsetid("bdscan", 1))
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and len([o for o in node.output if o]) > 1:
            node.domain, node.op_type = "bdscan", "TrainingBatchNormalization"
            kept = [a for a in node.attribute if a.name in ("epsilon", "momentum")]
            del node.attribute[:]
            node.attribute.extend(kept)
