"""ONNX: parsed without its external data, walked in full, external data fetched by rules of our own, then converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from modelscan_bd.audit import onnx_model, onnx_wire
from modelscan_bd.audit.fault import refuse
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.grades import Severity
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.onnx_external import inline
from modelscan_bd.loading.rehearsal import rehearse
from modelscan_bd.loading.sniff import Kind
from modelscan_bd.types import Checkpoint, FileFormat

if TYPE_CHECKING:
    from modelscan_bd.onnx_engine import Conversion


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
    refuse(fault for fault in onnx_wire.faults(file.data, name) if fault.severity is not Severity.LOW)
    model = onnx_model.parsed(file.data, name)
    if not model.graph.node or not model.graph.output:
        raise UnreadableModel(f"{name} is an ONNX file without a network in it")
    refuse(onnx_model.faults(model, name))
    inline(model, file.path, limits)
    return model
