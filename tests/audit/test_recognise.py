"""Files of other formats are named, with what to do instead; the audit and the loader say the same."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from audit import onnx_corpus as corpus
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd.audit import audit, recognise
from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.grades import Severity
from modelscan_bd.loading.sniff import kind_of

HDF5 = b"\x89HDF\r\n\x1a\n"
LAMBDA = b'{"class_name": "Lambda", "config": {"function": ["4wEAAA=="]}}'


def message(*fields: bytes) -> bytes:
    return b"".join(fields)


def text_field(number: int, content: bytes) -> bytes:
    return corpus.varint(number << 3 | 2) + corpus.varint(len(content)) + content


GRAPH = text_field(1, text_field(1, b"x") + text_field(2, b"Placeholder")) + text_field(4, b"\x08\x01")
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "Keras": (HDF5 + bytes(40), "a Keras"),
    "GGUF": (b"GGUF" + bytes(40), "GGUF"),
    "GGML": (b"lmgg" + bytes(40), "GGML"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
    "ExecuTorch": (b"\x1c\0\0\0ET12" + bytes(40), "ExecuTorch"),
    "onnxruntime": (b"\x1c\0\0\0ORTM" + bytes(40), "onnxruntime"),
    "TensorRT": (b"ptrt" + bytes(40), "TensorRT"),
    "SavedModel": (b"\x08\x01" + text_field(2, b"\x0a\x00"), "SavedModel"),
    "TensorFlow graph": (GRAPH, "a TensorFlow graph"),
    "Core ML": (b"\x08\x04" + text_field(2, b"") + text_field(500, b"\x0a\x00"), "Core ML"),
    "Caffe": (text_field(1, b"net") + text_field(100, b"\x0a\x01a"), "Caffe"),
    "Paddle": (text_field(1, b"\x08\x00\x10" + b"\xff" * 9 + b"\x01"), "PaddlePaddle"),
    "MNN": (struct.pack("<I", 12) + struct.pack("<HHHH", 8, 12, 4, 8) + struct.pack("<i", 8) + b"\0\0MNN\0" * 9, "MNN"),
    "joblib": (zlib.compress(b"\x80\x03]q\0."), "zlib stream"),
    "R object": (b"X\n\0\0\0\x03\0\4\2\1", "R object"),
    "R workspace": (b"RDX3\nX\n", "R workspace"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(40), "NumPy"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="resnet" version="11">\n<layers/></net>', "OpenVINO"),
    "PMML": (b'<?xml version="1.0"?><PMML version="4.4"></PMML>', "PMML"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
    "web page": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "web page"),
    "JSON": (b'{"weight_map": {}}', "JSON"),
    "script": (b"#!/bin/sh\nexit 0\n", "a script"),
    "text": (b"this is no model\n" * 9, "a text file"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG picture"),
    "gzip": (gzip.compress(b"x"), "gzip"),
    "program": (b"\x7fELF" + bytes(40), "native program"),
}
ARCHIVES: dict[str, tuple[dict[str, bytes], str]] = {
    "Keras": ({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": HDF5}, "a Keras file"),
    "NumPy": ({"a.npy": b"\x93NUMPY"}, ".npz"),
    "TorchServe": ({"MAR-INF/MANIFEST.json": b"{}", "handler.py": b""}, "TorchServe"),
    "SavedModel": ({"m/saved_model.pb": b"", "m/variables/x": b""}, "SavedModel"),
    "TorchScript": ({"m/constants.pkl": b"\x80\x02)."}, "TorchScript"),
    "mobile TorchScript": ({"m/bytecode.pkl": b"\x80\x02)."}, "TorchScript"),
    "pt2": ({"m/archive_format": b"pt2"}, ".pt2"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_audit_names_it(tmp_path: Path, name: str) -> None:
    data, words = FILES[name]
    (tmp_path / "model").write_bytes(data)
    found = [remark for remark in audit(tmp_path / "model") if remark.rule == "BD932"]
    if not found:  # archives and compressed files are opened, and what is inside is named
        assert name in ("gzip", "joblib", "NumPy")
        return
    assert found[0].severity is Severity.INFO
    assert words in found[0].message


@pytest.mark.parametrize("name", FILES)
def test_the_loader_refuses_it_with_a_remedy(name: str) -> None:
    data, words = FILES[name]
    with pytest.raises(UnsupportedModel) as caught:
        kind_of("model", data)
    assert words in caught.value.what
    assert caught.value.remedy.endswith(".")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_known_by_their_members(name: str) -> None:
    members, words = ARCHIVES[name]
    found = recognise.archive(members.keys())
    assert found is not None
    assert words in found.what


def test_an_archive_of_torch_is_none_of_them() -> None:
    assert recognise.archive({"net/data.pkl", "net/data/0", "net/version", "net/byteorder"}) is None


@pytest.mark.parametrize("spaces", ["", " "])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_lambda_layer_is_code(tmp_path: Path, spaces: str, zipped: bool) -> None:
    path, config = tmp_path / "model", LAMBDA.replace(b": ", f":{spaces}".encode())
    if zipped:
        with zipfile.ZipFile(path, "w") as file:
            for name, content in {"config.json": config, "metadata.json": b"{}", "model.weights.h5": HDF5}.items():
                file.writestr(name, content)
    else:
        path.write_bytes(HDF5 + bytes(99) + config)
    found = [remark for remark in audit(path) if remark.rule == "BD933"]
    assert [remark.severity for remark in found] == [Severity.MEDIUM]


@pytest.mark.parametrize("operator", ["ReadFile", "WriteFile", "PyFunc", "EagerPyFunc"])
def test_a_graph_that_reaches_out(tmp_path: Path, operator: str) -> None:
    (tmp_path / "model").write_bytes(GRAPH + text_field(1, text_field(1, b"y") + text_field(2, operator.encode())))
    found = [remark for remark in audit(tmp_path / "model") if remark.rule == "BD933"]
    assert [operator in remark.message for remark in found] == [True]


@pytest.mark.parametrize("magic", [b"MZ", b"x\x01", b"x\x9c", b"\x1f\x8b", b"BZ"])
def test_a_length_may_spell_a_magic(magic: bytes) -> None:
    """The first bytes of safetensors are a number."""
    length = int.from_bytes(magic, "little")
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(length)
    assert kind_of("model", length.to_bytes(8, "little") + header + b"\0").name == "SAFETENSORS"


def test_what_nobody_knows() -> None:
    with pytest.raises(UnreadableModel):
        kind_of("model", bytes(range(256)))


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_have_a_name_or_none(data: bytes) -> None:
    recognise.is_onnx(data)
    for found in (recognise.foreign(data), recognise.text(data)):
        assert found is None or found.error("model").what.startswith("model is ")
