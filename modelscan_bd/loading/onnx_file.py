"""ONNX: parsed without its external data, walked in full, external data fetched by rules of our own, then converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.loading import onnx_graph
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.onnx_external import inline
from modelscan_bd.loading.rehearsal import rehearse
from modelscan_bd.loading.sniff import Kind
from modelscan_bd.types import Checkpoint, FileFormat

if TYPE_CHECKING:
    from modelscan_bd.onnx_engine import Conversion

OLDEST, NEWEST = 7, 25  # of the default operator set


def load(file: Blob, arch: str | None, limits: Limits) -> Checkpoint:
    """Raises UnreadableModel for broken files, UnsupportedModel for operators and opsets that bdscan does not know."""
    notes = rehearse(file, Kind.ONNX, limits)
    done = read_and_convert(file, limits)
    ignored = ("--arch was not needed: the file holds the whole network.",) if arch else ()
    return Checkpoint(
        path=str(file.path),
        sha256=file.sha256,
        format=FileFormat.ONNX,
        architecture="onnx graph",
        net=done.module.eval(),
        classes=done.classes,
        output=done.output,
        differentiable=done.differentiable,
        hints=done.hints,
        notes=(*notes, *done.rewrites, *done.notes, *ignored),
    )


def read_and_convert(file: Blob, limits: Limits) -> Conversion:
    from modelscan_bd.onnx_engine import convert

    return convert(read(file, limits))


def read(file: Blob, limits: Limits) -> onnx.ModelProto:
    """The checked graph with all its tensors inside."""
    name = file.path.name
    model = onnx.ModelProto()
    try:
        model.ParseFromString(file.data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise UnreadableModel(f"{name} is a damaged ONNX file ({str(error)[:120]})") from None
    if not model.graph.node or not model.graph.output:
        raise UnreadableModel(f"{name} is an ONNX file without a network in it")
    _check_opset(model, name)
    onnx_graph.check(model, name)
    inline(model, file.path, limits)
    onnx_graph.check_sizes(model, name)
    return model


def _check_opset(model: onnx.ModelProto, name: str) -> None:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not OLDEST <= versions[0] <= NEWEST:
        said = f"opset {versions[0]}" if versions else "no opset"
        raise UnsupportedModel(
            f"{name} declares {said}; bdscan reads {OLDEST} to {NEWEST}",
            remedy="Export it again, or convert it with onnx.version_converter.",
        )
