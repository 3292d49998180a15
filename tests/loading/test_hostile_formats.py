"""The museum's second hall: safetensors and ONNX that lie, and files that are no classifier at all."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from modelscan_bd.errors import UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.loading import Limits, blob, load, onnx_file

Refused = Callable[..., str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model"


# ---------------------------------------------------------------- safetensors


def safe(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(begin: int, end: int, shape: tuple[int, ...], dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_a_header_larger_than_the_file(path: Path, refused: Refused) -> None:
    path.write_bytes((2**40).to_bytes(8, "little") + b'{"a":1}')
    refused(path, UnreadableModel, "header of 1099511627776 bytes")


def test_overlapping_tensors(path: Path, refused: Refused) -> None:
    refused(safe(path, {"a": entry(0, 8, (2,)), "b": entry(4, 12, (2,))}, bytes(12)), UnreadableModel, "overlaps")


def test_a_hole_between_tensors(path: Path, refused: Refused) -> None:
    """Bytes that no tensor owns may be another file altogether."""
    refused(safe(path, {"a": entry(0, 4, (1,)), "b": entry(8, 12, (1,))}, bytes(12)), UnreadableModel, "hole")


def test_bytes_behind_the_last_tensor(path: Path, refused: Refused) -> None:
    refused(safe(path, {"a": entry(0, 4, (1,))}, bytes(4) + b"PK\x03\x04"), UnreadableModel, "foreign bytes")


def test_a_shape_of_another_size(path: Path, refused: Refused) -> None:
    refused(safe(path, {"a": entry(0, 4, (2**31, 2**31))}, bytes(4)), UnreadableModel, "number of bytes")


def test_a_name_twice(path: Path, refused: Refused) -> None:
    """The reference reader keeps the last, others the first."""
    one = json.dumps(entry(0, 4, (1,)))
    refused(safe(path, f'{{"a": {one}, "a": {one}}}'.encode(), bytes(4)), UnreadableModel, "twice")


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": entry(4, 0, (1,))},
        {"a": entry(0, 4, (-1,))},
        {"a": entry(0, 4, (1,), "X99")},
        {"a": entry(0, 4, (1,), ["F32"])},
        {"a": 3},
        {"a": {"dtype": "F32"}},
        {"__metadata__": {"a": 1}},
        [1, 2],
    ],
)
def test_odd_headers(path: Path, refused: Refused, wrong: object) -> None:
    text = json.dumps(wrong).encode()
    refused(safe(path, b"{" + text[1:] if text.startswith(b"{") else b'{"a":' + text + b"}", bytes(4)), UnreadableModel)


def test_a_header_nested_without_end(path: Path, refused: Refused) -> None:
    refused(safe(path, b'{"a":' + b"[" * 200_000), UnreadableModel, "header")


def test_a_truncated_file(path: Path, refused: Refused) -> None:
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-7])
    refused(path, UnreadableModel, "cut short")


# ---------------------------------------------------------------- ONNX


@pytest.fixture
def turned_down(refused: Refused) -> Refused:
    """`refused` without the rehearsal in a child process, which takes seconds and ends in the same answer."""
    return functools.partial(refused, reader=lambda path: onnx_file.read(blob.read(Path(path), Limits()), Limits()))


def network(*nodes: onnx.NodeProto, tensors: tuple[TensorProto, ...] = (), **options: object) -> onnx.ModelProto:
    """Pictures in, ten logits out."""
    pictures = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(list(nodes), "g", [pictures], [logits], list(tensors))
    options.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, **options)  # type: ignore[arg-type]


FLAT, GEMM = helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"])


def outside(location: str, **more: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[192, 10], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "location", ["../secret", "a/../../secret", "/etc/passwd", "..\\secret", "C:/secret", "https://example.org/w", "."]
)
def test_external_data_outside_the_folder(path: Path, turned_down: Refused, location: str) -> None:
    """CVE-2022-25882, CVE-2024-27318: the reader hands out any file of the machine as weights."""
    turned_down(
        saved(path, network(FLAT, GEMM, tensors=(outside(location),))), UnsafeModel, "out of the model's folder"
    )


def test_external_data_in_an_attribute(path: Path, turned_down: Refused) -> None:
    """Scanners look at initialisers only."""
    constant = helper.make_node("Constant", [], ["w"], value=outside("../secret"))
    turned_down(saved(path, network(constant, FLAT, GEMM)), UnsafeModel, "out of the model's folder")


def test_external_data_in_a_branch(path: Path, turned_down: Refused) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["b"])],
        "then",
        [],
        [helper.make_tensor_value_info("b", 1, None)],
        [outside("../secret")],
    )
    branch = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
    turned_down(saved(path, network(branch)), UnsafeModel, "out of the model's folder")


def test_external_data_behind_a_link(path: Path, tmp_path: Path, turned_down: Refused) -> None:
    """CVE-2026-27489."""
    (tmp_path / "elsewhere").write_bytes(bytes(7680))
    (tmp_path / "w.bin").symlink_to(tmp_path / "elsewhere")
    turned_down(saved(path, network(FLAT, GEMM, tensors=(outside("w.bin"),))), UnsafeModel, "symbolic link")


def test_external_data_in_a_linked_folder(path: Path, tmp_path: Path, turned_down: Refused) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w.bin").write_bytes(bytes(7680))
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    turned_down(saved(path, network(FLAT, GEMM, tensors=(outside("linked/w.bin"),))), UnsafeModel, "symbolic link")


def test_external_data_in_a_hard_link(path: Path, tmp_path: Path, turned_down: Refused) -> None:
    """onnxruntime 1.26 accepted what onnx refused."""
    (tmp_path / "elsewhere").write_bytes(bytes(7680))
    os.link(tmp_path / "elsewhere", tmp_path / "w.bin")
    turned_down(saved(path, network(FLAT, GEMM, tensors=(outside("w.bin"),))), UnsafeModel, "hard-linked")


def test_external_data_in_a_pipe(path: Path, tmp_path: Path, turned_down: Refused) -> None:
    os.mkfifo(tmp_path / "w.bin")
    turned_down(saved(path, network(FLAT, GEMM, tensors=(outside("w.bin"),))), UnsafeModel, "pipe")


@pytest.mark.parametrize(
    "more", [{"offset": -4}, {"length": 2**60}, {"offset": 10}, {"basepath": "/"}, {"offset": "1e3"}]
)
def test_external_data_of_impossible_measures(
    path: Path, tmp_path: Path, turned_down: Refused, more: dict[str, object]
) -> None:
    """CVE-2026-34445; onnx's own full check passes them."""
    (tmp_path / "w.bin").write_bytes(bytes(7680))
    turned_down(saved(path, network(FLAT, GEMM, tensors=(outside("w.bin", **more),))), UnreadableModel, "external data")


def test_missing_external_data(path: Path, turned_down: Refused) -> None:
    turned_down(saved(path, network(FLAT, GEMM, tensors=(outside("w.bin"),))), UnreadableModel, "not in 'w.bin'")


def function(name: str, *calls: str) -> onnx.FunctionProto:
    nodes = [helper.make_node(call, ["a"], ["b"], domain="local") for call in calls]
    return helper.make_function("local", name, ["a"], ["b"], nodes, [helper.make_opsetid("local", 1)])


def with_functions(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    first = helper.make_node(functions[0].name, ["x"], ["y"], domain="local")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return network(first, functions=list(functions), opset_imports=opsets)


def test_a_function_that_calls_itself(path: Path, turned_down: Refused) -> None:
    turned_down(saved(path, with_functions(function("f", "g"), function("g", "f"))), UnreadableModel, "call themselves")


def test_functions_that_unfold_to_a_billion(path: Path, turned_down: Refused) -> None:
    """Forty functions, each calling the next twice: the checker, the inliner and onnxruntime hang."""
    chain = [function(f"f{n}", f"f{n + 1}", f"f{n + 1}") for n in range(40)]
    last = helper.make_function("local", "f40", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [])
    turned_down(saved(path, with_functions(*chain, last)), UnreadableModel, "1099511627776 operations")


def test_a_redefined_operator(path: Path, turned_down: Refused) -> None:
    own = helper.make_function("", "Relu", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], [])
    turned_down(
        saved(path, network(helper.make_node("Relu", ["x"], ["y"]), functions=[own])), UnsupportedModel, "redefines"
    )


def test_an_operator_from_outside(path: Path, turned_down: Refused) -> None:
    node = helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")
    turned_down(saved(path, network(node)), UnsupportedModel, "PyOp", "ai.onnx.contrib")


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_out_of_range(path: Path, turned_down: Refused, opset: int) -> None:
    model = network(FLAT, GEMM, opset_imports=[helper.make_opsetid("", opset)])
    turned_down(saved(path, model), UnsupportedModel, f"opset {opset}", "7 to 25")


def test_a_tensor_that_claims_more_than_it_holds(path: Path, turned_down: Refused) -> None:
    claim = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**20, 2**20], raw_data=bytes(16))
    turned_down(saved(path, network(FLAT, GEMM, tensors=(claim,))), UnreadableModel, "claims")


def test_two_tensors_of_one_name(path: Path, turned_down: Refused) -> None:
    """onnxruntime takes one of them, and not the one that others take."""
    one = numpy_helper.from_array(np.ones((192, 10), np.float32), "w")
    turned_down(saved(path, network(FLAT, GEMM, tensors=(one, one))), UnreadableModel, "same name")


def test_a_damaged_graph(path: Path, refused: Refused) -> None:
    whole = saved(path, network(FLAT, GEMM, tensors=(numpy_helper.from_array(np.ones((192, 10), np.float32), "w"),)))
    whole.write_bytes(whole.read_bytes()[:-100])
    refused(path, UnreadableModel)


def test_external_data_end_to_end(path: Path, refused: Refused) -> None:
    refused(saved(path, network(FLAT, GEMM, tensors=(outside("../secret"),))), UnsafeModel, "out of the model's folder")


def test_a_loop_without_end(path: Path) -> None:
    """onnxruntime builds a session for it, and never comes back from running it."""
    value = helper.make_tensor_value_info
    step = [helper.make_node("Identity", ["go_in"], ["go_out"]), helper.make_node("Relu", ["old"], ["new"])]
    body = helper.make_graph(
        step,
        "body",
        [
            value("trip", TensorProto.INT64, []),
            value("go_in", TensorProto.BOOL, []),
            value("old", TensorProto.FLOAT, None),
        ],
        [value("go_out", TensorProto.BOOL, []), value("new", TensorProto.FLOAT, None)],
    )
    trips = numpy_helper.from_array(np.array(2**60), "trips")
    loop = helper.make_node("Loop", ["trips", "", "x"], ["looped"], body=body)
    head = helper.make_node("Flatten", ["looped"], ["f"])
    weights = numpy_helper.from_array(np.ones((192, 10), np.float32), "w")
    model = network(loop, head, GEMM, tensors=(trips, weights))
    with pytest.raises((UnreadableModel, UnsupportedModel)) as caught:
        load(str(saved(path, model)), limits=Limits(seconds=10.0))
    assert "\n" not in str(caught.value)
