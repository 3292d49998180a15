"""safetensors files whose table lies, whose metadata are no description, and ones in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from audit import onnx_corpus as corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.torch import save

from modelscan_bd.audit import Budget, Remark, audit, safetensors
from modelscan_bd.grades import Severity

ORDER = tuple(Severity)
ENTRY = corpus.entry(0, 4, 1)


def named(samples: dict[str, corpus.Sample]) -> list[str]:
    return [name for name in samples if "safetensors" in name]


def worst(remarks: tuple[Remark, ...]) -> Severity:
    return max((remark.severity for remark in remarks), key=ORDER.index, default=Severity.INFO)


@pytest.mark.parametrize("name", named(corpus.MALICIOUS))
def test_attacks_are_found(tmp_path: Path, name: str) -> None:
    assert worst(audit(corpus.MALICIOUS[name](tmp_path))) in (Severity.HIGH, Severity.CRITICAL)


@pytest.mark.parametrize("name", named(corpus.TEXTS))
def test_texts_that_somebody_might_run(tmp_path: Path, name: str) -> None:
    remarks = audit(corpus.TEXTS[name](tmp_path))
    severity = Severity.HIGH if name.removeprefix("safetensors metadata with ") in corpus.MEANT_ILL else Severity.MEDIUM
    assert [(remark.rule, remark.severity) for remark in remarks] == [("BD931", severity)]


@pytest.mark.parametrize("name", named(corpus.BENIGN))
def test_files_in_order_raise_no_alarm(tmp_path: Path, name: str) -> None:
    assert worst(audit(corpus.BENIGN[name](tmp_path))) is Severity.INFO


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        (b'{"a":1,"a":2}', b"", "twice"),
        (b'{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', bytes(4), "twice"),
        (b'{"__metadata__":{},"__metadata__":{}}', b"", "twice"),
        (b'{"a":', b"", "broken"),
        (b'{"a":' + b"9" * 10_000 + b"}", b"", "broken"),
        (b'{"a":"\xff"}', b"", "broken"),
        ({"a": corpus.entry(4, 0, 1)}, bytes(4), "impossible|number of bytes"),
        ({"a": corpus.entry(0, 4, -1)}, bytes(4), "impossible"),
        ({"a": corpus.entry(0, 4, 2)}, bytes(4), "number of bytes"),
        ({"a": {**ENTRY, "shape": [True]}}, bytes(4), "impossible"),
        ({"a": {**ENTRY, "shape": [1.0]}}, bytes(4), "impossible"),
        ({"a": {**ENTRY, "more": 1}}, bytes(4), "not dtype, shape and offsets"),
        ({"a": {**ENTRY, "shape": [1] * 99}}, bytes(4), "impossible"),
        ({"a": ENTRY}, bytes(8), "foreign bytes"),
        ({"a": ENTRY}, bytes(3), "cut short"),
        ({"__metadata__": {"a": {"b": "c"}}}, b"", "not text"),
        ({"__metadata__": ["a"]}, b"", "not text"),
    ],
)
def test_each_rule_of_the_format(tmp_path: Path, header: object, data: bytes, words: str) -> None:
    remarks = audit(corpus.safetensors_file(header, data)(tmp_path))
    assert worst(remarks) in (Severity.MEDIUM, Severity.HIGH)
    assert any(word in remark.message for remark in remarks for word in words.split("|")), remarks


def test_every_tensor_with_a_fault_is_told(tmp_path: Path) -> None:
    header = {name: corpus.entry(0, 4, 2) for name in "abc"}
    places = {remark.place for remark in audit(corpus.safetensors_file(header, bytes(4))(tmp_path))}
    assert places == {"tensor a", "tensor b", "tensor c"}


@settings(max_examples=50, deadline=None)
@given(shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=6), words=st.text(max_size=20))
def test_what_the_library_writes_is_in_order(shapes: list[list[int]], words: str) -> None:
    data = save({f"t{i}": torch.zeros(shape) for i, shape in enumerate(shapes)}, metadata={"format": words})
    remarks = tuple(safetensors.remarks(data, "", Budget()) or ())
    assert all(remark.rule == "BD931" for remark in remarks)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 150), piece=st.binary(min_size=1, max_size=3))
def test_what_the_library_refuses_the_audit_does_not_pass(at: int, piece: bytes) -> None:
    data = bytearray(save({"a": torch.ones(2, 3), "b": torch.zeros(4)}, metadata={"format": "pt"}))
    data[at : at + len(piece)] = piece
    found = safetensors.remarks(bytes(data), "", Budget())
    remarks = None if found is None else tuple(found)
    try:
        deserialize(bytes(data))
    except SafetensorError:
        assert remarks is None or remarks
    else:
        assert remarks is None or all(remark.message for remark in remarks)


def test_a_header_of_sixteen_megabytes_is_the_most(tmp_path: Path) -> None:
    text = json.dumps({"a": ENTRY}).encode().ljust(16 * 2**20 + 1)
    remarks = audit(corpus.safetensors_file(text, bytes(4))(tmp_path))
    assert "header of 16777217 bytes" in remarks[0].message
