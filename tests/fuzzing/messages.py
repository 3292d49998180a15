"""ONNX models by their fields: any field of any message changed, and small models whose names cross as they like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

import onnx
from fuzzing.changes import NUMBERS, Change
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import strategies as st
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto

OPERATORS: Final = (
    "Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Relu", "Clip", "Where", "Equal", "Greater", "ArgMax",
    "TopK", "Reshape", "Transpose", "Flatten", "Shape", "Gather", "Slice", "Concat", "Constant", "ConstantOfShape",
    "Cast", "If", "Loop", "Scan", "ReduceMean", "GlobalAveragePool", "MaxPool", "Softmax", "Pad", "Resize", "Range",
    "Expand", "BatchNormalization", "QuantizeLinear", "DequantizeLinear", "RandomNormal", "Dropout", "Identity",
    "PyOp", "f", "g", "Split", "Squeeze", "Unsqueeze", "Tile", "Einsum", "HardSwish", "LayerNormalization",
    "OneHot", "Mod", "BitShift",
)  # fmt: skip
_NAMES: Final = ("x", "y", "a", "b", "c", "d", "e", "w", "v", "")
_ATTRIBUTES: Final = (
    "axis", "axes", "to", "value", "perm", "shape", "kernel_shape", "strides", "pads", "group", "epsilon",
    "equation", "then_branch", "else_branch", "body", "value_float", "value_ints", "mode", "keepdims",
    "num_outputs", "dilations", "",
)  # fmt: skip
_SMALL: Final = (0, 1, 2, 3, 4, 8, -1, 16, 224, 2**20, 2**31, 2**40, 2**62, -(2**63))
_WIDTHS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (32, True),
    FieldDescriptor.CPPTYPE_ENUM: (32, True),
    FieldDescriptor.CPPTYPE_INT64: (64, True),
    FieldDescriptor.CPPTYPE_UINT32: (32, False),
    FieldDescriptor.CPPTYPE_UINT64: (64, False),
}


def parsed(data: bytes) -> onnx.ModelProto | None:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        return None
    return model


def _within(message: Message) -> Iterator[Message]:
    waiting = [message]
    while waiting:
        yield (at := waiting.pop())
        for field, value in at.ListFields():
            if field.message_type is not None:
                waiting += value if field.is_repeated else [value]


def field_changed(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A field given, taken away, doubled, shuffled, or filled with what lies elsewhere in this model or another."""
    model, other = parsed(data), parsed(rng.choice(others))
    if model is None:
        return data
    at = rng.choice(list(_within(model)))
    given = [field for field, _ in at.ListFields()]
    field = rng.choice(given if given and rng.random() < 0.8 else list(at.DESCRIPTOR.fields))
    donors = [*_within(model), *(_within(other) if other is not None else ())]
    try:
        _change(at, field, donors, rng)
        return model.SerializeToString()
    except (ValueError, TypeError, RecursionError):  # a model inside itself, or too large
        return data


def _change(at: Message, field: Any, donors: Sequence[Message], rng: Random) -> None:
    name = field.name
    how = rng.random()
    if how < 0.15:
        at.ClearField(name)
    elif not field.is_repeated:
        if field.message_type is not None:
            getattr(at, name).CopyFrom(_donor(field, donors, rng))
        else:
            setattr(at, name, _scalar(field, donors, rng))
    else:
        values = list(getattr(at, name))
        if how < 0.35:
            rng.shuffle(values)
        elif how < 0.55 and values:
            values += [rng.choice(values)] * rng.choice((1, 1, 2, 40))
        elif how < 0.65 and values:
            values.pop(rng.randrange(len(values)))
        elif how < 0.8 and values and field.message_type is None:
            values[rng.randrange(len(values))] = _scalar(field, donors, rng)
        else:
            values.append(_scalar(field, donors, rng) if field.message_type is None else _donor(field, donors, rng))
        values = [_apart(value) if isinstance(value, Message) else value for value in values]
        at.ClearField(name)
        getattr(at, name).extend(values)


def _apart(message: Message) -> Message:
    """A copy: protobuf does not survive a message that is copied into a part of itself."""
    return type(message).FromString(message.SerializeToString())


def _donor(field: Any, donors: Sequence[Message], rng: Random) -> Message:
    fitting = [donor for donor in donors if donor.DESCRIPTOR is field.message_type]
    found = rng.choice(fitting) if fitting else getattr(onnx, field.message_type.name, None)
    if isinstance(found, Message):
        return _apart(found)
    if found is None:
        raise TypeError("a type inside another")
    return found()


def _scalar(field: Any, donors: Sequence[Message], rng: Random) -> object:
    if field.cpp_type in _WIDTHS:
        width, signed = _WIDTHS[field.cpp_type]
        value = rng.choice((*range(-2, 25), *_SMALL, *NUMBERS)) % 2**width
        return value - 2**width if signed and value >= 2 ** (width - 1) else value
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice((0.0, 1.0, -1.0, 1e38, float("nan"), float("inf"), 1e-40))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", b"\0" * 4, b"\xff" * 24, rng.randbytes(rng.randint(0, 64)), bytes(4096)))
    strings = [value for donor in donors[:300] for value in _strings(donor)]
    return rng.choice(
        (*strings, *_NAMES, *OPERATORS, "../w", "/etc/passwd", "w.bin", "9" * 30, "local", "com.microsoft")
    )


def _strings(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from value if field.is_repeated else [value]


CHANGES: Final[tuple[Change, ...]] = (field_changed,)


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """Nodes, branches, functions and tensors of few names: cycles, shadowed and missing names come by themselves."""
    rng = draw(st.randoms(use_true_random=True))
    model = onnx.ModelProto(ir_version=draw(st.sampled_from((3, 8, 10))))
    for domain in draw(st.lists(st.sampled_from(("", "ai.onnx", "local", "com.microsoft")), min_size=1, max_size=3)):
        model.opset_import.add(domain=domain, version=rng.choice((1, 7, 9, 11, 13, 17, 21)))
    _fill(model.graph, rng, draw(st.integers(1, 30)), 0)
    shape = [1, 3, 8, 8] if rng.random() < 0.7 else [rng.choice(_SMALL) for _ in range(rng.randint(0, 5))]
    model.graph.input.append(onnx.helper.make_tensor_value_info("x", rng.choice((1, 1, 1, 2, 7, 10, 16)), shape))
    model.graph.output.append(onnx.helper.make_tensor_value_info(rng.choice(_NAMES), 1, None))
    for name in draw(st.lists(st.sampled_from(("f", "g", "Relu")), max_size=3)):
        model.functions.append(_function(name, rng))
    return model.SerializeToString()


def _function(name: str, rng: Random) -> FunctionProto:
    made = FunctionProto(name=name, domain=rng.choice(("", "local")), input=["x", "w"][: rng.randint(0, 2)])
    made.output.extend(rng.sample(_NAMES, rng.randint(0, 2)))
    made.node.extend(_node(rng, 1) for _ in range(rng.randint(0, 4)))
    return made


def _fill(graph: GraphProto, rng: Random, nodes: int, depth: int) -> None:
    graph.node.extend(_node(rng, depth) for _ in range(nodes))
    graph.initializer.extend(_tensor(rng) for _ in range(rng.randint(0, 3)))
    for name in rng.sample(_NAMES, rng.randint(0, 2) if depth else 0):
        rng.choice((graph.input, graph.output)).add(name=name)


def _node(rng: Random, depth: int) -> NodeProto:
    node = NodeProto(op_type=rng.choice(OPERATORS), domain=rng.choice(("", "", "", "local", "com.microsoft")))
    node.input.extend(rng.choices(_NAMES, k=rng.choice((0, 1, 1, 2, 2, 3, 5))))
    node.output.extend(rng.choices(_NAMES, k=rng.choice((1, 1, 1, 2, 0))))
    node.attribute.extend(_attribute(rng, depth) for _ in range(rng.choice((0, 0, 1, 2))))
    return node


def _attribute(rng: Random, depth: int) -> AttributeProto:
    made = AttributeProto(name=rng.choice(_ATTRIBUTES), type=rng.randrange(15))
    kind = rng.choice(("i", "f", "s", "ints", "floats", "t", *(("g", "g", "graphs") if depth < 3 else ())))
    if kind == "g":
        _fill(made.g, rng, rng.randint(0, 3), depth + 1)
    elif kind == "graphs":
        _fill(made.graphs.add(), rng, rng.randint(0, 2), depth + 1)
    elif kind == "t":
        made.t.CopyFrom(_tensor(rng))
    elif kind in ("ints", "floats"):
        getattr(made, kind).extend(rng.choice((0, 1, 2, 3, -1)) for _ in range(rng.randint(0, 5)))
    else:
        setattr(made, kind, {"i": rng.choice(_SMALL), "f": 1.5, "s": b"same"}[kind])
    if rng.random() < 0.7:
        made.type = {"i": 2, "f": 1, "s": 3, "ints": 7, "floats": 6, "t": 4, "g": 5, "graphs": 10}[kind]
    return made


def _tensor(rng: Random) -> TensorProto:
    made = TensorProto(name=rng.choice(_NAMES), data_type=rng.choice((1, 1, 1, 7, 9, 10, 11, 16, 22, 8, 3, 0, 99)))
    made.dims.extend(rng.choice(_SMALL[:6] if rng.random() < 0.9 else _SMALL) for _ in range(rng.randint(0, 4)))
    size = 1
    for length in made.dims:
        size = min(size * max(length, 0), 4096)
    how = rng.random()
    if how < 0.6:
        made.raw_data = rng.randbytes(size * rng.choice((4, 4, 4, 8, 2, 1)))
    elif how < 0.8:
        rng.choice((made.float_data, made.int32_data, made.int64_data)).extend([1] * size)
    elif how < 0.9:
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value=rng.choice(("w.bin", "../w.bin", "/dev/zero", "pipe", "w.bin/x")))
    return made
