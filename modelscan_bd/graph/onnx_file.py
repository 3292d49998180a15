"""What the graph of an ONNX file looks like, before anything loads it. Of other files nothing is said."""

from __future__ import annotations

from pathlib import Path

from modelscan_bd.audit import recognise
from modelscan_bd.audit.data import read
from modelscan_bd.audit.remark import Budget
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.graph.sight import Sight

UNSEEN = "unseen"


def sights(file: Path) -> tuple[Sight, ...]:
    """What is broken is the audit's to tell; a graph that is too large to be looked through is told here."""
    data = bytes(read(file, Budget()))  # protobuf takes no less
    if not recognise.is_onnx(data):
        return ()
    from modelscan_bd.audit import onnx_model, onnx_wire  # takes half a second, which others need not wait for
    from modelscan_bd.graph.from_onnx import graph_of
    from modelscan_bd.graph.patterns import patterns

    if any(fault.rule == onnx_wire.BROKEN for fault in onnx_wire.faults(data, file.name)):
        return ()
    try:
        model = onnx_model.parsed(data, file.name)
    except UnreadableModel:
        return ()
    try:
        return tuple(patterns(graph_of(model)))
    except UnreadableModel as error:
        return (Sight(pattern=UNSEEN, figures={}, message=error.what, place=""),)
