"""The comparison of scanners sees what a process did: exit code, signal, hang, traceback, seconds, memory, canary."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits are a matter of POSIX")

from scanner_runs import Run, Tool, run


def done(code: str, folder: Path, seconds: float = 20.0) -> Run:
    """What is recorded of a tool that is this piece of Python, where `{file}` is its file."""
    tool = Tool(name="tool", command=(sys.executable, "-I", "-c", code, "{file}"), severity=lambda _, said: said)
    return run(tool, "benign", "a file", folder / "model.pt", folder / "canary", folder, seconds)


def test_an_exit_code_and_what_was_said(tmp_path: Path) -> None:
    one = done("import sys; print(sys.argv[1][-8:], end=''); sys.exit(3)", tmp_path)
    assert (one.exit, one.severity, one.traceback, one.hung, one.canary) == (3, "model.pt", False, False, False)


def test_a_traceback(tmp_path: Path) -> None:
    one = done("1 / 0", tmp_path)
    assert (one.exit, one.traceback) == (1, True)


def test_a_signal(tmp_path: Path) -> None:
    one = done("import os; os.abort()", tmp_path)
    assert (one.exit, one.hung) == (-signal.SIGABRT, False)


def test_a_hang(tmp_path: Path) -> None:
    one = done("import time; time.sleep(60)", tmp_path, seconds=0.5)
    assert one.hung
    assert one.wall < 20


def test_what_it_costs(tmp_path: Path) -> None:
    one = done("a = b'x' * 2**30\nfor _ in range(10**7): pass", tmp_path)
    assert one.memory > 2**30
    assert one.cpu > 0.05


def test_memory_is_limited(tmp_path: Path) -> None:
    one = done("a = bytearray(8 * 2**30)", tmp_path)
    assert "MemoryError" in one.severity


def test_a_canary_is_seen_and_put_back(tmp_path: Path) -> None:
    assert done(f"open({str(tmp_path / 'canary')!r}, 'w')", tmp_path).canary
    assert not done("pass", tmp_path).canary
