"""The pass over pickles: what runs code is named, what people save is let pass, and nothing is ever run here."""

from __future__ import annotations

import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import pytest
from audit import corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscan_bd.audit import Budget, Remark, examine, names
from modelscan_bd.audit.opcodes import opcodes
from modelscan_bd.audit.steps import STEPS
from modelscan_bd.grades import Severity

GRAVE = {Severity.HIGH, Severity.CRITICAL}
ALARMING = {Severity.MEDIUM, *GRAVE}
QUICK = Budget(seconds=3.0, opcodes=50_000, bytes=2**24, held=2**22)
NAMES = tuple(corpus.pickles(Path("canary")))
BENIGN = tuple(corpus.plain())
RANDOMLY = settings(deadline=None, suppress_health_check=list(HealthCheck))


def grave(remarks: tuple[Remark, ...]) -> list[Remark]:
    return [remark for remark in remarks if remark.severity in GRAVE]


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "touched"


@pytest.fixture(scope="module")
def malicious(canary: Path) -> corpus.Files:
    return corpus.pickles(canary)


# ---------------------------------------------------------------- what attacks


@pytest.mark.parametrize("name", NAMES)
def test_what_attacks_its_loader_is_grave(malicious: corpus.Files, canary: Path, name: str) -> None:
    found = grave(examine(malicious[name]))
    assert {remark.rule for remark in found} & {"BD901", "BD902", "BD909"}, "not merely that it is broken"
    assert not canary.exists()


RUN_BY_PYTHON = (
    "INST",
    "INST cut off before its line ends",
    "OBJ",
    "protocol 0",
    "a number that pickletools refuses",
    "a name that is not ASCII first",
    "BUILD with nothing on a number",
    "names from the memo",
    "then an unknown opcode",
    "then no end",
    "then cut off",
    "popped at once",
    "in a short frame",
    "behind a GGUF mark",
)


def test_the_payloads_are_no_duds(tmp_path: Path) -> None:
    """Python's unpicklers, the one in C or the one in Python, touch the canary by each of these."""
    for index, name in enumerate(RUN_BY_PYTHON):
        (tmp_path / f"{index}.pkl").write_bytes(corpus.pickles(tmp_path / f"{index}.touched")[name])
    code = (
        "import pathlib, pickle, sys\n"
        "for file in pathlib.Path(sys.argv[1]).glob('*.pkl'):\n"
        "    for load in (pickle.load, pickle._load):\n"
        "        try: load(file.open('rb'))\n"
        "        except Exception: pass\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    duds = [name for index, name in enumerate(RUN_BY_PYTHON) if not (tmp_path / f"{index}.touched").exists()]
    assert duds == []


def test_the_remark_says_what_is_called_with_what_and_where() -> None:
    (remark,) = grave(examine(corpus.torch_zip(corpus.stream(corpus.call("os.system", corpus.word("touch x"))))))
    assert remark.severity is Severity.CRITICAL
    assert "os.system('touch x')" in remark.message
    assert remark.place == "archive/data.pkl, byte 2"


def test_text_from_the_file_is_shown_harmless() -> None:
    body = corpus.call("os.system", corpus.word("\x1b[31m\u202e" + "x" * 10_000))
    (remark,) = grave(examine(corpus.stream(body)))
    assert remark.message.isprintable()
    assert len(remark.message) < 300


def test_pickletools_itself_refuses_what_python_runs(malicious: corpus.Files) -> None:
    """Why the audit splits opcodes by itself."""
    with pytest.raises(ValueError, match="invalid literal"):
        list(pickletools.genops(malicious["a number that pickletools refuses"]))


def test_a_thousand_mild_remarks_do_not_bury_a_grave_one() -> None:
    mild = b"".join(corpus.named(f"somewhere.Class{index}") + b")\x81" for index in range(1000))
    remarks = examine(corpus.stream(mild + corpus.call("os.system", corpus.word("x"))))
    assert remarks[0].severity is Severity.CRITICAL
    assert len(remarks) < 100
    assert any("more remarks" in remark.message for remark in remarks)


# ---------------------------------------------------------------- grades of names


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        (corpus.call("os.system", corpus.word("x")), Severity.CRITICAL),
        (corpus.named("os.system"), Severity.HIGH),
        (corpus.call("somewhere.helper", corpus.word("x")), Severity.HIGH),
        (corpus.named("somewhere.Net"), Severity.HIGH),
        (corpus.named("somewhere.Net") + b")\x81", Severity.MEDIUM),
        (corpus.named("argparse.Namespace") + b")\x81", Severity.INFO),
    ],
)
def test_a_name_weighs_by_what_is_done_with_it(body: bytes, severity: Severity) -> None:
    assert [remark.severity for remark in examine(corpus.stream(body))] == [severity]


def test_names_that_are_not_listed_are_denied() -> None:
    assert names.grade("somewhere.helper") is names.Grade.UNKNOWN
    assert names.grade("torch.nn.modules.linear.Linear") is names.Grade.LAYER
    assert names.grade("torch.nn.modules.linear.linear") is names.Grade.UNKNOWN, "a function is no layer"
    assert all(names.grade(f"{module}.x") is names.Grade.CODE for module in ("os", "random", "builtins", "site"))


# ---------------------------------------------------------------- what people save


@pytest.fixture(scope="module")
def plain() -> corpus.Files:
    return corpus.plain()


@pytest.mark.parametrize("name", BENIGN)
def test_what_numpy_and_python_write_raises_no_alarm(plain: corpus.Files, name: str) -> None:
    assert [remark for remark in examine(plain[name]) if remark.severity in ALARMING] == []


# ---------------------------------------------------------------- whatever bytes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


def test_every_opcode_has_its_step() -> None:
    """What is not in the table is pushed as it is: numbers and texts, and nothing else."""
    pushed = {opcode.name for opcode in pickletools.opcodes} - set(STEPS) - {"STOP"}
    literal = ("INT", "LONG", "FLOAT", "STRING", "UNICODE", "BYTES", "BYTEARRAY8")
    assert [name for name in pushed if not any(kind in name for kind in literal)] == []


@settings(RANDOMLY, max_examples=50)
@given(VALUES, st.integers(0, 5))
def test_opcodes_are_where_pickletools_says(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    expected = [(opcode.name, position) for opcode, _, position in pickletools.genops(data)]
    assert [(name, position) for name, _, position in opcodes(data, 0)] == expected
    assert [remark for remark in examine(data) if remark.severity in ALARMING] == []


CODES = st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])
ARGUMENTS = st.sampled_from(
    [b"", b"\0", b"\x05abcde", b"os\nsystem\n", b"1\n", b"\xff\xff\xff\xff", b"\x01\0\0\0x", b"'\n"]
)
STREAMS = st.lists(st.tuples(CODES, ARGUMENTS), max_size=60).map(lambda pairs: b"".join(map(b"".join, pairs)))


@RANDOMLY
@given(STREAMS, st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]), st.sampled_from([b"", b"."]))
def test_any_stream_of_opcodes_is_read_to_an_end(body: bytes, head: bytes, end: bytes) -> None:
    examine(head + body + end, QUICK)


@RANDOMLY
@given(st.binary(max_size=400), st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\0", b"\x1f\x8b"]))
def test_any_bytes_are_read_to_an_end(data: bytes, head: bytes) -> None:
    examine(head + data, QUICK)
