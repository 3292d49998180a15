"""The pass over archives and streams: read as every reader reads them, never beyond the budget."""

from __future__ import annotations

import io
import json
import pickletools
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from audit import corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscan_bd.audit import Budget, audit, examine
from modelscan_bd.errors import UsageError
from modelscan_bd.grades import Severity

GRAVE = {Severity.HIGH, Severity.CRITICAL}
QUICK = Budget(seconds=3.0, opcodes=50_000, bytes=2**24, held=2**22)
NAMES = tuple(corpus.archives(Path("canary")))
HOSTILE = corpus.hostile()
MOST_SECONDS, MOST_MEMORY = 20.0, 2**30
BEARABLE = {"deep tuples", "twenty gzips"}
RANDOMLY = settings(deadline=None, suppress_health_check=list(HealthCheck))


# ---------------------------------------------------------------- what attacks


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "touched"


@pytest.fixture(scope="module")
def malicious(canary: Path) -> corpus.Files:
    return corpus.archives(canary)


@pytest.mark.parametrize("name", NAMES)
def test_a_payload_is_found_wherever_it_lies(malicious: corpus.Files, canary: Path, name: str) -> None:
    grave = [remark for remark in examine(malicious[name]) if remark.severity in GRAVE]
    wanted = ("leads out", "absolute") if "benign" in name else ("system",)
    assert any(word in remark.message for remark in grave for word in wanted), "the payload itself is named"
    assert not canary.exists()


def test_members_that_readers_take_differently_are_told(malicious: corpus.Files) -> None:
    rules = {name: {remark.rule for remark in examine(malicious[name])} for name in NAMES}
    told = {"BD903", "BD904", "BD905"}
    differ = [name for name in NAMES if name.startswith("zip,") and "deflated" not in name and "as another" not in name]
    assert [name for name in differ if not rules[name] & told and name != "zip, constants.pkl"] == []


# ---------------------------------------------------------------- what breaks readers

CHILD = """
import json, sys, time
from pathlib import Path
from modelscan_bd.audit import audit
for file in sorted(Path(sys.argv[1]).iterdir()):
    began = time.process_time()
    remarks = [(remark.rule, remark.severity) for remark in audit(file)]
    print(json.dumps([file.name, time.process_time() - began, remarks]))
status = Path('/proc/self/status')  # of Linux; a child's ru_maxrss would count its parent's memory too
lines = status.read_text().splitlines() if status.is_file() else ['VmHWM: 0 kB']
print(json.dumps(next(int(line.split()[1]) * 1024 for line in lines if line.startswith('VmHWM'))))
print(json.dumps('torch' in sys.modules))
"""


@dataclass(frozen=True)
class Outcome:
    """What a process of its own saw that audited a folder of files; as users run it, without type checks."""

    seconds: dict[str, float]
    severities: dict[str, set[str]]
    memory: int  # bytes, at most
    torch: bool

    @staticmethod
    def of(folder: Path, files: Iterable[tuple[str, bytes]]) -> Outcome:
        for name, content in files:
            (folder / name).write_bytes(content)
        done = subprocess.run([sys.executable, "-c", CHILD, str(folder)], check=True, capture_output=True, timeout=300)
        *lines, memory, torch = map(json.loads, done.stdout.splitlines())
        for file in folder.iterdir():
            file.unlink()
        severities = {name: {severity for _, severity in remarks} for name, _, remarks in lines}
        return Outcome({name: seconds for name, seconds, _ in lines}, severities, memory, torch)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Outcome.of(tmp_path_factory.mktemp("hostile"), ((name, make()) for name, make in HOSTILE.items()))


@pytest.mark.parametrize("name", HOSTILE)
def test_what_breaks_readers_is_survived_and_told(outcome: Outcome, name: str) -> None:
    severities = outcome.severities[name]
    assert outcome.seconds[name] < MOST_SECONDS
    assert name in BEARABLE or severities & {"medium", "high"}
    assert "critical" not in severities, "nothing here runs code"


def test_the_audit_stays_small_and_without_torch(outcome: Outcome) -> None:
    assert outcome.memory < MOST_MEMORY
    assert not outcome.torch


def test_a_budget_of_time_ends_the_audit() -> None:
    data = corpus.stream(b"N0" * 400_000)
    (remark,) = examine(data, Budget(seconds=0.0))
    assert remark.rule == "BD906"


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError):
            audit(path)


# ---------------------------------------------------------------- what people save


@pytest.fixture(scope="module")
def checkpoints() -> corpus.Files:
    return corpus.checkpoints()


def test_what_torch_saves_raises_no_alarm(checkpoints: corpus.Files, tmp_path: Path) -> None:
    assert len(checkpoints) >= 20
    outcome = Outcome.of(tmp_path, checkpoints.items())
    assert {name: found for name, found in outcome.severities.items() if found - {"info", "low"}} == {}
    assert max(outcome.seconds.values()) < 1


def _starts(data: bytes) -> list[int]:
    """Where the first four pickles of a file begin."""
    stream, starts = io.BytesIO(data), [0]
    for _ in range(3):
        list(pickletools.genops(stream))
        starts.append(stream.tell())
    return starts


def test_a_payload_in_any_stream_of_a_legacy_file_is_found(checkpoints: corpus.Files) -> None:
    data = checkpoints["state dict, legacy"]
    system = corpus.call("os.system", corpus.word("true")) + b"0"
    for start in _starts(data):
        found = examine(data[: start + 2] + system + data[start + 2 :])
        assert [remark.place for remark in found] == [f"byte {start + 2}"]
        assert found[0].severity is Severity.CRITICAL


# ---------------------------------------------------------------- whatever bytes

SEEDS = {
    "zip": corpus.archives(Path("x"))["zip, the first of two data.pkl"],
    "deflated": corpus.archives(Path("x"))["zip in zip, deflated, twice"],
    "tar": corpus.archives(Path("x"))["tar"],
    "gzip": corpus.archives(Path("x"))["tar.gz"],
    "xz": corpus.archives(Path("x"))["xz"],
    "legacy": corpus.archives(Path("x"))["legacy, behind the numbers"],
    "joblib": corpus.archives(Path("x"))["joblib, behind an array"],
    "npz": corpus.archives(Path("x"))["npz of objects"],
    "claims": HOSTILE["a tensor beyond its storage"](),
}


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=8)


@RANDOMLY
@given(st.sampled_from(sorted(SEEDS)), CHANGES, st.integers(0, 200))
def test_any_damage_is_read_to_an_end(seed: str, changes: list[tuple[int, bytes]], cut: int) -> None:
    data = bytearray(SEEDS[seed])
    for at, value in changes:
        data[at % len(data) : at % len(data) + len(value)] = value
    examine(bytes(data[: len(data) - cut]), QUICK)
