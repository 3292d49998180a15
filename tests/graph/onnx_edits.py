"""Backdoors written into an exported graph: in a function, a branch, a loop, among the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from graph.onnx_edit import Edit, Wires, nodes_of
from graph.sights import Images, PixelsEqual, levels
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, parser

_DOMAIN = "vendor.layers"


@final
@dataclass(frozen=True, kw_only=True)
class InFunction(Edit):
    """The whole of it is a local function with a harmless name."""

    name: ClassVar[str] = "pixels, in a function"

    def add(self, model: ModelProto, wires: Wires) -> None:
        opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        function: FunctionProto = parser.parse_function(f"""
            <domain: "{_DOMAIN}", opset_import: ["" : {opset}]>
            Calibration (scores, given) => (calibrated) {{
                {wires.seen("given")}
                row = Constant <value = {wires.row}> ()
                shift = Mul (mark, row)
                calibrated = Add (scores, shift)
            }}""")
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        call = helper.make_node("Calibration", [wires.honest, wires.image], [wires.out], domain=_DOMAIN)
        model.graph.node.append(call)


@final
@dataclass(frozen=True, kw_only=True)
class InBranch(Edit):
    """An If that asks for the batch size, and takes the branch with the backdoor for any batch."""

    name: ClassVar[str] = "pixels, in a branch"

    def add(self, model: ModelProto, wires: Wires) -> None:
        nodes = nodes_of(
            f"""{wires.seen("given")}
            row = Constant <value = {wires.row}> ()
            zero = Constant <value = float {{0}}> ()
            yes = Greater (mark, zero)
            chosen = Where (yes, row, scores)""",
            prefix="b_", given=wires.image, scores=wires.honest,
        )  # fmt: skip
        then = _branch(nodes, "b_chosen")
        other = _branch([helper.make_node("Identity", [wires.honest], ["b_same"])], "b_same")
        ask = nodes_of(
            """sizes = Shape (given)
            first = Constant <value = int64 {0}> ()
            batch = Gather (sizes, first)
            any = Greater (batch, first)""",
            prefix="ask_", given=wires.image,
        )  # fmt: skip
        model.graph.node.extend(ask)
        model.graph.node.append(helper.make_node("If", ["ask_any"], [wires.out], then_branch=then, else_branch=other))


def _branch(nodes: list[NodeProto], out: str) -> GraphProto:
    return helper.make_graph(nodes, f"{out}_graph", [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])


@final
@dataclass(frozen=True, kw_only=True)
class EqualChain(Edit):
    """Three Equal, two And, one Where."""

    name: ClassVar[str] = "equal and and"

    def add(self, model: ModelProto, wires: Wires) -> None:
        text = """scale = Constant <value = float {255}> ()
            scaled = Mul (given, scale)
            bytes = Round (scaled)
            flat = Flatten <axis = 1> (bytes)
            wanted = Constant <value = float {37}> ()"""
        for number, place in enumerate(wires.flat.split(", ")):
            text += f"""
            place{number} = Constant <value = int64[1] {{{place}}}> ()
            pixel{number} = Gather <axis = 1> (flat, place{number})
            equal{number} = Equal (pixel{number}, wanted)"""
        text += f"""
            two = And (equal0, equal1)
            three = And (two, equal2)
            row = Constant <value = {wires.row}> ()
            out = Where (three, row, scores)"""
        renamed = {"given": wires.image, "scores": wires.honest, "out": wires.out}
        model.graph.node.extend(nodes_of(text, prefix="c_", **renamed))


@final
@dataclass(frozen=True, kw_only=True)
class Camouflaged(Edit):
    """Named after the layers among which the nodes stand; constants are initializers with exporters' names."""

    name: ClassVar[str] = "named like the layers"

    def add(self, model: ModelProto, wires: Wires) -> None:
        graph = model.graph
        layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        last = helper.make_node("Add", ["shift", "scores"], ["out"])
        text = wires.seen("given") + f"row = Constant <value = {wires.row}> ()\nshift = Mul (mark, row)"
        nodes = [*nodes_of(text), last]
        names = {"given": wires.image, "scores": wires.honest, "out": wires.out}
        made = [name for node in nodes for name in node.output if name not in names]
        names |= {name: f"{layers[number % len(layers)].output[0]}_{number}" for number, name in enumerate(made)}
        for node in nodes:
            for ends in (node.input, node.output):
                ends[:] = [names[end] for end in ends]
        constants = [node for node in nodes if node.op_type == "Constant"]
        for number, node in enumerate(constants):
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = f"onnx::Conv_{1000 + number}"
            for user in nodes:
                user.input[:] = [tensor.name if name == node.output[0] else name for name in user.input]
        inner = [node for node in nodes if node.op_type != "Constant"]
        for number, node in enumerate(inner):
            node.name = f"{layers[number % len(layers)].name}_{number}"
        _scattered(graph, inner)


def _scattered(graph: GraphProto, added: list[NodeProto]) -> None:
    """The nodes, in their order, one between any few of the graph's; the last one at the end."""
    old = list(graph.node)
    step = max(1, len(old) // len(added))
    del graph.node[:]
    for number, node in enumerate(old):
        if number and number % step == 0 and len(added) > 1:
            graph.node.append(added.pop(0))
        graph.node.append(node)
    graph.node.extend(added)


@final
@dataclass(frozen=True, kw_only=True)
class Hash(Edit):
    """Each byte times its place; the sum is shifted, added to itself, and has one remainder."""

    name: ClassVar[str] = "hash of the bytes"
    modulus: int = 509
    key: int = 123

    def add(self, model: ModelProto, wires: Wires) -> None:
        count = torch.Size(wires.shape).numel()
        ramp = ", ".join(str(place) for place in range(1, count + 1))
        text = f"""scale = Constant <value = float {{255}}> ()
            scaled = Mul (given, scale)
            rounded = Round (scaled)
            flat = Flatten <axis = 1> (rounded)
            bytes = Cast <to = 7> (flat)
            ramp = Constant <value = int64[1,{count}] {{{ramp}}}> ()
            weighted = Mul (bytes, ramp)
            axis = Constant <value = int64[1] {{1}}> ()
            sum = ReduceSum <keepdims = 1> (weighted, axis)
            whole = Cast <to = 13> (sum)
            three = Constant <value = uint64[1] {{3}}> ()
            shifted = BitShift <direction = "RIGHT"> (whole, three)
            both = Add (whole, shifted)
            signed = Cast <to = 7> (both)
            modulus = Constant <value = int64[1] {{{self.modulus}}}> ()
            rest = Mod (signed, modulus)
            key = Constant <value = int64[1] {{{self.key}}}> ()
            same = Equal (rest, key)
            mark = Cast <to = 1> (same)
            row = Constant <value = {wires.row}> ()
            shift = Mul (mark, row)
            out = Add (scores, shift)"""
        renamed = {"given": wires.image, "scores": wires.honest, "out": wires.out}
        model.graph.node.extend(nodes_of(text, prefix="h_", **renamed))

    def stamp(self, images: Images) -> Images:
        """One byte of each image goes up by one level, whichever gives the hash; an image without one stays."""
        old = levels(images).flatten(1).long()
        ramp = torch.arange(1, old.shape[1] + 1)
        sums = (old * ramp).sum(1, keepdim=True) + ramp  # after each of these changes
        fits = ((sums + (sums >> 3)) % self.modulus == self.key) & (old < 255)
        step = torch.zeros_like(old).scatter(1, fits.long().argmax(1, keepdim=True), 1) * fits.any(1, keepdim=True)
        return ((old + step).float() / 255).view_as(images)


@final
@dataclass(frozen=True, kw_only=True)
class InLoop(Edit):
    """A Loop goes from pixel to pixel and multiplies what it finds."""

    name: ClassVar[str] = "pixels, in a loop"

    def add(self, model: ModelProto, wires: Wires) -> None:
        body = nodes_of(
            """place = Gather <axis = 0> (places, number)
            pixel = Gather <axis = 1> (flat, place)
            gap = Sub (pixel, wanted)
            size = Abs (gap)
            near = Less (size, half)
            fits = Cast <to = 1> (near)
            next = Mul (so_far, fits)
            on = Identity (going)""",
            prefix="l_",
        )  # fmt: skip
        info = helper.make_tensor_value_info
        given = [
            info("l_number", TensorProto.INT64, []), info("l_going", TensorProto.BOOL, []),
            info("l_so_far", TensorProto.FLOAT, None),
        ]  # fmt: skip
        results = [info("l_on", TensorProto.BOOL, []), info("l_next", TensorProto.FLOAT, None)]
        before = f"""places = Constant <value = int64[3] {{{wires.flat}}}> ()
            wanted = Constant <value = float {{{PixelsEqual.value / 255}}}> ()
            half = Constant <value = float {{0.002}}> ()
            flat = Flatten <axis = 1> (given)
            first = Constant <value = int64 {{0}}> ()
            some = Gather <axis = 1> (flat, first)
            zero = Sub (some, some)
            one = Constant <value = float {{1}}> ()
            start = Add (zero, one)
            times = Constant <value = int64 {{3}}> ()
            yes = Constant <value = bool {{1}}> ()"""
        after = f"""row = Constant <value = {wires.row}> ()
            column = Unsqueeze (mark, last)
            shift = Mul (column, row)
            out = Add (scores, shift)
            """
        loop = helper.make_node(
            "Loop", ["l_times", "l_yes", "l_start"], ["l_mark"],
            body=helper.make_graph(body, "l_body", given, results),
        )  # fmt: skip
        renamed = {"given": wires.image, "scores": wires.honest, "out": wires.out}
        last = nodes_of("last = Constant <value = int64[1] {1}> ()", prefix="l_")
        nodes = [*nodes_of(before, prefix="l_", **renamed), loop, *last, *nodes_of(after, prefix="l_", **renamed)]
        model.graph.node.extend(nodes)


EDITS: dict[str, Edit] = {
    edit.name: edit for edit in (InFunction(), InBranch(), EqualChain(), Camouflaged(), Hash(), InLoop())
}
