"""ONNX files that attack, that hurt and that are in order: what the audit says, what it costs, what it never does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from audit import onnx_corpus as corpus
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from modelscan_bd.audit import Budget, Remark, audit, examine, onnx_model, onnx_wire
from modelscan_bd.audit.recognise import is_onnx
from modelscan_bd.grades import Severity

ORDER = tuple(Severity)


def worst(remarks: tuple[Remark, ...]) -> Severity:
    return max((remark.severity for remark in remarks), key=ORDER.index, default=Severity.INFO)


def told(model: onnx.ModelProto, tmp_path: Path) -> tuple[Remark, ...]:
    return audit(corpus.onnx_file(model)(tmp_path))


def of_onnx(samples: dict[str, corpus.Sample]) -> list[str]:
    return [name for name in samples if not name.startswith(("safetensors", "TorchScript", "pt2", "empty"))]


# ---------------------------------------------------------------- the corpus


@pytest.mark.parametrize("name", of_onnx(corpus.MALICIOUS))
def test_attacks_are_found(tmp_path: Path, name: str) -> None:
    assert worst(audit(corpus.MALICIOUS[name](tmp_path))) in (Severity.HIGH, Severity.CRITICAL)


@pytest.mark.parametrize("name", of_onnx(corpus.TEXTS))
def test_texts_that_somebody_might_run(tmp_path: Path, name: str) -> None:
    remarks = audit(corpus.TEXTS[name](tmp_path))
    assert [remark.rule for remark in remarks] == ["BD926"]
    meant_ill = name.removeprefix("metadata with ") in corpus.MEANT_ILL
    assert worst(remarks) is (Severity.HIGH if meant_ill else Severity.MEDIUM)


@pytest.mark.parametrize("name", of_onnx(corpus.BENIGN))
def test_files_in_order_raise_no_alarm(tmp_path: Path, name: str) -> None:
    remarks = audit(corpus.BENIGN[name](tmp_path))
    assert worst(remarks) in (Severity.INFO, Severity.LOW), remarks


@settings(max_examples=60, deadline=None)
@given(st.floats(0.02, 0.99))
def test_a_file_that_is_cut_short_is_called_damaged(share: float) -> None:
    remarks = examine(corpus.WHOLE[: int(share * len(corpus.WHOLE))])
    assert [(remark.rule, remark.severity) for remark in remarks] == [("BD925", Severity.MEDIUM)]
    assert "cut short" in remarks[0].message


def test_hostile_files_cost_little(tmp_path: Path) -> None:
    """All of them in a child that has a gigabyte; also shows that torch is not needed."""
    paths = []
    for number, sample in enumerate(corpus.HOSTILE.values()):
        (tmp_path / str(number)).mkdir()
        paths.append(sample(tmp_path / str(number)))
    seen = in_child(paths, 2**30)
    assert not seen["torch"]
    for name, (severity, seconds) in zip(corpus.HOSTILE, seen["files"], strict=True):
        assert severity in ("medium", "high", "critical"), name
        assert seconds < 10, name


def in_child(paths: list[Path], memory: int) -> dict[str, object]:
    """Of each file the worst severity and the CPU seconds."""
    code = f"""
import json, sys, time
from pathlib import Path
from modelscan_bd.audit import audit
from modelscan_bd.grades import Severity
import onnx
try:
    import resource
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {memory},) * 2)
except (ImportError, OSError):
    pass
files = []
for path in json.load(sys.stdin):
    began = time.process_time()
    worst = max((list(Severity).index(remark.severity) for remark in audit(Path(path))), default=0)
    files.append((list(Severity)[worst], time.process_time() - began))
print(json.dumps(dict(files=files, torch="torch" in sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([str(p) for p in paths]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


# ---------------------------------------------------------------- what is said


def test_the_place_is_named(tmp_path: Path) -> None:
    made = corpus.function("f", nodes=(corpus.constant(corpus.outside("../secret")),))
    found = next(remark for remark in told(corpus.with_functions(made), tmp_path) if remark.rule == "BD920")
    assert found.place == "function f, node w"
    assert "'../secret'" in found.message


def test_a_name_from_the_file_cannot_break_a_line(tmp_path: Path) -> None:
    node = corpus.operator("Odd\n\x1b[31m\u202e" + "x" * 999, "evil\n")
    for remark in told(corpus.network(node, corpus.FLAT, corpus.GEMM, tensors=(corpus.WEIGHTS,)), tmp_path):
        assert remark.message.isprintable()
        assert remark.place.isprintable()
        assert len(remark.message) < 400


def test_an_operator_is_told_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("PyOp", ["x"], [f"o{i}"], domain="ai.onnx.contrib") for i in range(50)]
    assert len(told(corpus.network(*nodes, corpus.FLAT, corpus.GEMM, tensors=(corpus.WEIGHTS,)), tmp_path)) == 1


def test_the_count_of_unfolded_operations_is_exact(tmp_path: Path) -> None:
    """f0 calls f1 twice and so on: 2^n - 1 identities, one in each call, and the three nodes outside."""
    model = corpus.chain(20, 2)
    remarks = told(model, tmp_path)
    assert f"unfolds to {2**21 - 1 + 2} operations" in remarks[0].message


def test_inside_an_archive_nothing_lies_beside() -> None:
    model = corpus.network(corpus.FLAT, corpus.GEMM, tensors=(corpus.outside("w.bin"),))
    assert not list(onnx_model.remarks(model.SerializeToString(), "a/model.onnx", Budget()) or ())


def test_data_beside_are_looked_at_by_size_only(tmp_path: Path) -> None:
    model = corpus.network(corpus.FLAT, corpus.GEMM, tensors=(corpus.outside("w.bin", offset=1, length=7680),))
    remarks = audit(corpus.onnx_file(model, ("w.bin", bytes(7680)))(tmp_path))
    assert [(remark.rule, remark.severity) for remark in remarks] == [("BD921", Severity.HIGH)]


@pytest.mark.parametrize("trips", [2**20, 2**62])
def test_a_loop_that_stops_by_itself(tmp_path: Path, trips: int) -> None:
    assert not told(corpus.loop(trips, stops=True), tmp_path)


def test_other_messages_are_no_onnx() -> None:
    assert not is_onnx(b"\x08\x01\x12\x04\x0a\x02\x08\x01")
    assert not is_onnx(b"\x3a\x00")
    assert is_onnx(corpus.plain().SerializeToString())


# ---------------------------------------------------------------- the layout


@pytest.mark.parametrize("name", of_onnx(corpus.BENIGN))
def test_the_layout_of_files_in_order_is_without_fault(tmp_path: Path, name: str) -> None:
    data = corpus.BENIGN[name](tmp_path).read_bytes()
    assert onnx_wire.measure(data) == onnx_wire.Wire(unknown=0, twice=(), broken="")


@given(number=st.integers(min_value=100, max_value=2**20), content=st.binary(max_size=50))
def test_unknown_fields_are_counted_to_the_byte(number: int, content: bytes) -> None:
    field = corpus.field(number, content)
    assert onnx_wire.measure(corpus.WHOLE + field).unknown == len(field)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["plain", "functions", "a branch", "a while loop", "comments", "all kinds of tensors"]),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), min_size=1, max_size=4),
)
def test_mutated_files_end_in_remarks(
    tmp_path_factory: pytest.TempPathFactory, name: str, cuts: list[tuple[float, bytes]]
) -> None:
    """Bytes replaced, put in and left out: never an exception; and what protobuf cannot read, the audit says."""
    folder = tmp_path_factory.mktemp("mutated")
    data = bytearray(corpus.BENIGN[name](folder).read_bytes())
    for where, piece in cuts:
        at = int(where * (len(data) - 1))
        data[at : at + max(1, len(piece) - 1)] = piece
    remarks = list(onnx_model.all_remarks(bytes(data), "", Budget(), folder / "model.onnx"))
    try:
        onnx.ModelProto.FromString(bytes(data))
    except DecodeError:
        assert remarks
