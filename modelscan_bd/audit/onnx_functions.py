"""What a small file makes of itself: functions that call functions, graphs in graphs, loops and shapes without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import onnx

from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.onnx_operators import KNOWN
from modelscan_bd.audit.onnx_walk import FunctionId, identity, nodes_within, scopes, wanted
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import BdscanError, UnreadableModel, UnsupportedModel
from modelscan_bd.grades import Severity

_MOST_NODES = 200_000
_MOST_DEPTH = 16  # of graphs in graphs
_COUNTED_TO = 2**62  # nodes; beyond it numbers themselves grow without end


def faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    yield from _redefined(model, name)
    yield from _unfolded(model, name)
    deepest = max(scopes(model), key=lambda scope: scope.depth)
    if deepest.depth > _MOST_DEPTH:
        error = UnreadableModel(f"{name} nests graphs more than {_MOST_DEPTH} deep")
        yield _fault("BD923", error, deepest.place)


def _redefined(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """Functions with the name of a standard operator or of each other: some readers take them, some do not."""
    for function in model.functions:
        if function.domain in KNOWN:
            what = f"{name} redefines the standard operator {shown(function.name)}, so that readers disagree on it"
            yield _fault("BD924", UnsupportedModel(what), f"function {shown(function.name)}")
    for (_, function_name, _), count in Counter(map(identity, model.functions)).items():
        if count > 1:
            what = f"{name} defines the function {shown(function_name)} {count} times, so that readers disagree on it"
            yield _fault("BD924", UnreadableModel(what), f"function {shown(function_name)}")


def _unfolded(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """Counts the nodes that inlining all functions would make; forty that call each other twice make 2^40."""
    calls = {identity(f): Counter(map(wanted, nodes_within(f.node))) for f in model.functions}
    try:
        order = tuple(
            TopologicalSorter({key: inner.keys() & calls.keys() for key, inner in calls.items()}).static_order()
        )
    except CycleError as error:
        place = f"function {shown(error.args[1][0][1])}"
        yield _fault("BD923", UnreadableModel(f"{name} has local functions that call themselves"), place)
        return
    sizes: dict[FunctionId, int] = {}
    for key in order:
        sizes[key] = _total(calls[key], sizes)
    total = _total(Counter(map(wanted, nodes_within(model.graph.node))), sizes)
    if total > _MOST_NODES:
        number = f"{total}" if total < _COUNTED_TO else "more than 2^62"
        what = f"{name} unfolds to {number} operations, more than the {_MOST_NODES} allowed"
        yield _fault("BD923", UnreadableModel(what), "")


def _total(calls: Mapping[FunctionId, int], sizes: Mapping[FunctionId, int]) -> int:
    return min(sum(count * sizes.get(call, 1) for call, count in calls.items()), _COUNTED_TO)


def _fault(rule: str, error: BdscanError, place: str) -> Fault:
    return Fault(rule=rule, severity=Severity.HIGH, error=error, place=place)
