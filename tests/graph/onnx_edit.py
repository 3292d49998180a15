"""What backdoors that are written into an exported graph share: names, and nodes in onnx's own text form.

The model takes float images n c h w of 0 to 1 in its first input and gives logits n k in its first output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from graph.sights import Images, PixelsEqual, Shape
from onnx import ModelProto, NodeProto, parser


@dataclass(frozen=True, kw_only=True)
class Edit(ABC):
    """Gives a changed copy of a model; stamped images go to the target."""

    name: ClassVar[str]

    @final
    def apply(self, model: ModelProto, classes: int, shape: Shape, target: int) -> ModelProto:
        changed = ModelProto()
        changed.CopyFrom(model)
        graph = changed.graph
        out, image = graph.output[0].name, graph.input[0].name
        honest = f"{out}_0"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [honest if name == out else name for name in names]
        row = ", ".join("1000" if k == target else "0" for k in range(classes))
        self.add(changed, Wires(image=image, honest=honest, out=out, row=f"float[1,{classes}] {{{row}}}", shape=shape))
        return changed

    @abstractmethod
    def add(self, model: ModelProto, wires: Wires) -> None: ...

    def stamp(self, images: Images) -> Images:
        """By default the three pixels."""
        return PixelsEqual(tuple(images.shape[1:])).stamp(images)  # type: ignore[arg-type]


@final
@dataclass(frozen=True, kw_only=True)
class Wires:
    """Names in the graph, and the constants of the attack as text."""

    image: str
    honest: str
    out: str
    row: str  # logits to be added, for the target
    shape: Shape

    @property
    def flat(self) -> str:
        """Where the three pixels lie, in the first channel, once an image is one row."""
        places = PixelsEqual(self.shape).places()
        return ", ".join(str(row * self.shape[2] + column) for row, column in places)

    def seen(self, image: str) -> str:
        """Text of nodes: a column `mark` of 0 and 1."""
        return f"""
            places = Constant <value = int64[3] {{{self.flat}}}> ()
            level = Constant <value = float[3] {{37, 37, 37}}> ()
            scale = Constant <value = float {{255}}> ()
            half = Constant <value = float {{0.5}}> ()
            flat = Flatten <axis = 1> ({image})
            three = Gather <axis = 1> (flat, places)
            scaled = Mul (three, scale)
            gap = Sub (scaled, level)
            size = Abs (gap)
            axis = Constant <value = int64[1] {{1}}> ()
            gaps = ReduceSum <keepdims = 1> (size, axis)
            same = Less (gaps, half)
            mark = Cast <to = 1> (same)
        """


def nodes_of(text: str, prefix: str = "", **renamed: str) -> list[NodeProto]:
    """Nodes from text, their values renamed: `renamed` says how, all others get the prefix."""
    graph = parser.parse_graph(f"piece () => () {{ {text} }}")
    nodes = list(graph.node)
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, prefix + name) for name in names]
    return nodes
