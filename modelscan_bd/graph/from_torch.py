"""A torch module as a graph of roles, by a trace (torch.fx) of what it does to one batch of images.

Whatever classes or methods the module is made of, the trace has the operators that ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta

from modelscan_bd.errors import BdscanError, CannotMeasure
from modelscan_bd.graph.ir import Constant, Graph, Node, Role
from modelscan_bd.graph.operators import role

_KEPT = 65_536  # elements of constants whose values a pattern may want
# what operators and the trace itself raise: torch has no common class for it
_REFUSALS = (
    RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError, BdscanError,
)  # fmt: skip
_CASTS = frozenset({"_to_copy", "to", "type_as"})


@final
@dataclass(frozen=True)
class Trace:
    """The graph, and for each of its nodes the one of the trace that it was made of."""

    graph: Graph
    module: fx.GraphModule
    places: tuple[fx.Node, ...]


def traced(net: nn.Module, images: Tensor) -> Trace:
    """Raises CannotMeasure where the network cannot be traced: its steps depend on what is in the picture, or fail."""
    try:
        with torch.no_grad(), _with_names(net):
            pure = functionalize(net, remove="mutations")  # a step that writes over its input would be run twice
            module = make_fx(pure, tracing_mode="fake", _allow_non_fake_inputs=True)(images)
    except _REFUSALS as error:
        raise CannotMeasure(f"the network cannot be traced: {_first_line(error)}") from error
    return read(module)


@contextmanager
def _with_names(net: nn.Module) -> Iterator[None]:
    """While it is traced, a module that was made of a file's nodes hands their names on to what they run."""
    made = [part for part in net.modules() if isinstance(part, fx.GraphModule)]
    with preserve_node_meta():
        for part in made:
            for node in part.graph.nodes:
                node.meta["stack_trace"] = node.name  # the one text that a trace takes along
            part.forward = fx.Interpreter(part).run
        try:
            yield
        finally:
            for part in made:
                del part.forward


def read(module: fx.GraphModule) -> Trace:
    """The trace's nodes that depend on the image, as a graph."""
    numbers: dict[fx.Node, int] = {}
    nodes: list[Node] = []
    outputs: tuple[int, ...] = ()
    for place in module.graph.nodes:
        if place.op == "output":
            outputs = tuple(numbers[given] for given in place.all_input_nodes if given in numbers)
        else:
            node = _node(module, place, numbers)
            if node is not None:
                numbers[place] = len(nodes)
                nodes.append(node)
    return Trace(Graph(tuple(nodes), outputs), module, tuple(numbers))


def _node(module: fx.GraphModule, place: fx.Node, numbers: dict[fx.Node, int]) -> Node | None:
    if place.op == "placeholder":
        return Node(name=place.name, op="input", role=Role.IMAGE)
    given = list(_operands(place))
    inputs = tuple(numbers[one] for one in given if one in numbers)
    if place.op != "call_function" or not inputs:
        return None
    constants = tuple(_constant(module, one) for one in given if one not in numbers)
    name = operator(place)
    return Node(name=_called(place), op=name, role=_part(place, name, numbers), inputs=inputs, constants=constants)


def _called(place: fx.Node) -> str:
    """By the node of the file that it comes from, where there is one."""
    given = place.stack_trace or ""
    return given if given.isidentifier() else place.name


def operator(place: fx.Node) -> str:
    """The bare name of what a call runs: 'add' of aten.add_.Tensor."""
    packet = getattr(place.target, "overloadpacket", place.target)
    return str(getattr(packet, "__name__", packet)).rstrip("_") or str(packet)


def _part(place: fx.Node, name: str, numbers: dict[fx.Node, int]) -> Role:
    kind = _dtype(place)
    if name in _CASTS:
        return Role.MOVE if kind is None or kind.is_floating_point else Role.ROUND
    part = role("aten", name)
    if part is Role.BITS and kind is torch.bool:
        return Role.LOGIC
    if part is Role.SELECT and place.args[0] not in numbers:
        return Role.MOVE
    if part is Role.INDEX and name not in ("topk", "argmax", "argmin", "sort", "argsort", "one_hot", "nonzero"):
        chosen = [one for one in _operands(place, skip=1) if one in numbers]
        return part if chosen else Role.MOVE
    return part


def _operands(place: fx.Node, skip: int = 0) -> Iterator[fx.Node]:
    """Nodes among a call's arguments, each as often as it stands there."""
    waiting: list[Any] = [*reversed(list(place.kwargs.values())), *reversed(place.args[skip:])]
    while waiting:
        one = waiting.pop()
        if isinstance(one, fx.Node):
            yield one
        elif isinstance(one, (list, tuple)):
            waiting += reversed(one)


def _constant(module: fx.GraphModule, place: fx.Node) -> Constant:
    if place.op == "get_attr":
        tensor = getattr(module, str(place.target), None)
        if isinstance(tensor, Tensor):
            small = tensor.numel() <= _KEPT and tensor.dtype != torch.bfloat16
            return Constant(shape=tuple(tensor.shape), values=tensor.detach().cpu().numpy() if small else None)
    value = place.meta.get("val")
    return Constant(shape=tuple(value.shape) if isinstance(value, Tensor) else ())


def _dtype(place: fx.Node) -> torch.dtype | None:
    value = place.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
