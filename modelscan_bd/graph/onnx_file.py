"""What the graph of an ONNX file looks like, before anything loads it. Of other files nothing is said."""

from __future__ import annotations

from pathlib import Path

from modelscan_bd.audit import recognise
from modelscan_bd.audit.data import read
from modelscan_bd.audit.remark import Budget
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.graph.sight import Sight


def sights(file: Path) -> tuple[Sight, ...]:
    """What is broken, or too large to be written out, is the audit's to tell."""
    data = bytes(read(file, Budget()))  # protobuf takes no less
    if not recognise.is_onnx(data):
        return ()
    from modelscan_bd.audit import onnx_model, onnx_wire  # takes half a second, which others need not wait for
    from modelscan_bd.graph.from_onnx import graph_of
    from modelscan_bd.graph.patterns import patterns

    if any(fault.rule == onnx_wire.BROKEN for fault in onnx_wire.faults(data, file.name)):
        return ()
    try:
        return tuple(patterns(graph_of(onnx_model.parsed(data, file.name))))
    except UnreadableModel:
        return ()
