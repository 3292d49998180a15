"""An ONNX file before anything reads it: counted, parsed without its external data, and walked in full.

Neither onnx's checker nor its shape inference nor onnxruntime are asked: each can be made to hang or to read files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from modelscan_bd.audit import (
    onnx_external,
    onnx_functions,
    onnx_operators,
    onnx_structure,
    onnx_tensors,
    onnx_texts,
    onnx_wire,
    onnx_work,
)
from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.recognise import is_onnx
from modelscan_bd.audit.remark import Budget, Remark
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.grades import Confidence, Severity


def remarks(data: bytes, place: str, budget: Budget, path: Path | None = None) -> Iterator[Remark] | None:
    """None where the bytes are no ONNX model. With `path`, the files beside it are looked at too."""
    return all_remarks(data, place, budget, path) if is_onnx(data) else None


def parsed(data: bytes, name: str) -> onnx.ModelProto:
    """The model without its external data, from bytes whose layout was found without fault."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableModel(f"{name} is a damaged ONNX file ({str(error)[:120]})") from None
    return model


def faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """All that keeps a parsed model from being loaded, but for its external data."""
    yield from onnx_operators.faults(model, name)
    yield from onnx_functions.faults(model, name)
    yield from onnx_structure.faults(model, name)
    yield from onnx_tensors.sparse_faults(model, name)
    yield from onnx_tensors.size_faults(model, name)


def all_remarks(data: bytes, place: str, budget: Budget, path: Path | None) -> Iterator[Remark]:
    """What there is to say of bytes that are taken for an ONNX model."""
    name = path.name if path else (place or "the file")
    layout = tuple(onnx_wire.faults(data, name))
    yield from (fault.remark for fault in layout)
    if any(fault.rule == onnx_wire.BROKEN for fault in layout):
        return
    try:
        model = parsed(data, name)
    except UnreadableModel as error:
        damaged = Fault(rule=onnx_wire.BROKEN, severity=Severity.MEDIUM, error=error, confidence=Confidence.MEDIUM)
        yield damaged.remark
        return
    yield from (fault.remark for fault in onnx_external.faults(model, path, name, budget.file))
    yield from (fault.remark for fault in faults(model, name))
    yield from (fault.remark for fault in onnx_tensors.content_faults(model, name))
    for more in (onnx_operators, onnx_structure, onnx_work, onnx_texts):
        yield from more.remarks(model, name)
