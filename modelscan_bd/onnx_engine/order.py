"""Nodes in an order in which every tensor exists before it is used, as ONNX demands and many files ignore."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

import onnx

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.onnx_engine.limits import inner_graphs


def ordered(nodes: Sequence[onnx.NodeProto], given: Collection[str] = ()) -> list[onnx.NodeProto]:
    """`given` are tensors that no node may produce again.

    Raises UnreadableModel where two nodes produce one tensor or nodes wait for each other."""
    producer = _producers(nodes, given)
    waits = [{producer[n] for n in used(node) if n in producer} for node in nodes]
    followers: list[list[int]] = [[] for _ in nodes]
    for i, before in enumerate(waits):
        for j in before:
            followers[j].append(i)
    ready, done = deque(i for i, before in enumerate(waits) if not before), []
    missing = [len(before) for before in waits]
    while ready:
        i = ready.popleft()
        done.append(nodes[i])
        for j in followers[i]:
            missing[j] -= 1
            if not missing[j]:
                ready.append(j)
    if len(done) != len(nodes):
        stuck = next(nodes[i] for i, count in enumerate(missing) if count)
        raise UnreadableModel(f"the graph runs in a circle through {stuck.op_type} node '{stuck.name}'")
    return done


def used(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors a node reads, those its subgraphs take from outside among them."""
    yield from (name for name in node.input if name)
    for graph in inner_graphs([node]):
        own = {o for inner in graph.node for o in inner.output} | {i.name for i in graph.input}
        own |= {w.name for w in graph.initializer}
        yield from (name for inner in graph.node for name in used(inner) if name not in own)
        yield from (o.name for o in graph.output if o.name not in own)


def _producers(nodes: Sequence[onnx.NodeProto], given: Collection[str]) -> dict[str, int]:
    producer: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in node.output:
            if name and (name in producer or name in given):
                raise UnreadableModel(f"the graph produces twice the tensor '{name}'")
            producer[name] = i
    producer.pop("", None)
    return producer
