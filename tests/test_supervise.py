"""The process that measures, on real networks, with detectors that misbehave: what it may do, and how it ends."""

# ruff: noqa: ARG001 - what is installed is asked for by name, and used by other processes
from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from modelscan_bd.errors import UsageError
from modelscan_bd.results import Evidence, Failure, Report, Verdict
from modelscan_bd.scan import scan
from modelscan_bd.settings import Settings
from modelscan_bd.supervision.watchdog import Watchdog
from modelscan_bd.verdict import exit_code

T = TypeVar("T")
HERE = Path(__file__).parent
MODEL = HERE.parent / "samples" / "benign.safetensors"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
CLASSES = ("Fine", "Hoards", "Reaches", "Hangs", "Dies", "Late")
NAMES = ("a-fine", "b-hoards", "c-reaches", "d-hangs", "d-dies", "e-late")
OTHERS_LONG = 120.0  # seconds, on the slowest machine, until something happens that takes two on ours


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a package lies installed that offers the hostile detectors."""
    folder = tmp_path_factory.mktemp("site")
    facts = folder / "hostile_detectors-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-detectors\nVersion: 1\n", encoding="utf-8")
    points = "".join(f"{name} = hostile_detectors:{kind}\n" for name, kind in zip(NAMES, CLASSES, strict=True))
    (facts / "entry_points.txt").write_text(f"[modelscan_bd.detectors]\n{points}", encoding="utf-8")
    (folder / "hostile_detectors.py").symlink_to(HERE / "hostile_detectors.py")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "there").write_text("as it was", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def installed(site: Path, home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nobody's business")
        yield


@pytest.fixture(scope="module")
def ordeal(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One scan with all of them but one. An hour passes as soon as one hangs."""
    temporary = tmp_path_factory.mktemp("temporary")
    detectors = ("a-fine", "b-hoards", "c-reaches", "d-hangs", "e-late")

    def clock() -> float:
        return time.monotonic() + 3600 * any(temporary.glob("bdscan-*/process"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        settings = Settings(model=str(MODEL), detectors=detectors, timeout=300.0)
        report = scan(settings, measure=Watchdog(memory=2**31, clock=clock))
    assert not any(temporary.iterdir())
    return report


def outcome(report: Report, detector: str) -> Evidence | Failure:
    return next(one for one in report.evidence if one.detector == detector)


def test_who_measures_properly_is_heard(ordeal: Report) -> None:
    fine = outcome(ordeal, "a-fine")
    assert isinstance(fine, Evidence)
    assert fine.scores == {"x": 1.5}
    assert np.allclose(fine.artefacts["mask"], np.linspace(0, 1, 27).reshape(3, 3, 3))
    assert ordeal.model.num_classes == 12


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit on memory")
def test_who_asks_for_all_memory_fails_and_the_others_go_on(ordeal: Report) -> None:
    hoards = outcome(ordeal, "b-hoards")
    assert isinstance(hoards, Failure)
    assert "more memory than it may have" in hoards.reason
    assert isinstance(outcome(ordeal, "c-reaches"), Evidence)


def test_neither_the_network_nor_a_file_outside_is_reached(ordeal: Report, home: Path) -> None:
    reaches = outcome(ordeal, "c-reaches")
    assert isinstance(reaches, Evidence)
    assert reaches.scores["password"] == 0.0
    unlimited = [note for note in ordeal.model.notes if note.startswith("This system")]
    if unlimited:
        pytest.skip(" ".join(unlimited))
    assert set(reaches.scores.values()) == {0.0}
    assert [file.name for file in home.iterdir()] == ["there"]
    assert (home / "there").read_text(encoding="utf-8") == "as it was"


def test_a_detector_that_hangs_is_ended_and_named(ordeal: Report) -> None:
    hangs, late = outcome(ordeal, "d-hangs"), outcome(ordeal, "e-late")
    assert isinstance(hangs, Failure)
    assert "still running after 305 s, where the time limit is 300 s" in hangs.reason
    assert late == Failure(detector="e-late", reason="it was not reached")
    assert "time limit is 300 s" in ordeal.incomplete[0]
    assert "--timeout" in ordeal.incomplete[0]
    assert ordeal.verdict is Verdict.INCONCLUSIVE
    assert exit_code(ordeal, fail_on=Verdict.SUSPICIOUS, allow_incomplete=False) == 3


@POSIX
def test_a_process_that_is_killed_leaves_what_it_had_told(installed: None) -> None:
    settings = Settings(model=str(MODEL), detectors=("a-fine", "d-dies", "e-late"))
    report = scan(settings, measure=Watchdog())
    assert isinstance(outcome(report, "a-fine"), Evidence)
    assert "was killed" in outcome(report, "d-dies").reason
    assert "was not reached" in outcome(report, "e-late").reason
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "Traceback" not in str(report)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit on memory")
def test_a_network_that_eats_the_memory_ends_in_a_report(tmp_path: Path) -> None:
    """Harmless classes and 200 bytes of weights; one image through it takes 150 GB."""
    torch.save(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Upsample(scale_factor=2000)), tmp_path / "model.pt")
    report = scan(Settings(model=str(tmp_path / "model.pt")), measure=Watchdog(memory=2**30))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "loading the model takes more memory than the 1.0 GiB that it may have" in report.incomplete[0]
    assert "--memory" in report.incomplete[0]


def test_our_own_errors_come_through(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*model\.onnx"):
        scan(Settings(model=str(tmp_path / "model.onnx")), measure=Watchdog())


def test_a_process_that_does_not_start_in_time_is_given_up() -> None:
    hours = itertools.count(0.0, 3600.0)
    report = scan(Settings(model=str(MODEL)), measure=Watchdog(clock=lambda: next(hours)))
    assert "not ready after 120 s" in report.incomplete[0]
    assert (report.verdict, report.evidence) == (Verdict.INCONCLUSIVE, ())


# ---------------------------------------------------------------- the command


@pytest.fixture
def hanging(installed: None, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`bdscan` waiting for a detector that hangs, and the number of the process that it waits for."""
    command = [sys.executable, "-m", "modelscan_bd", str(MODEL), "--detectors", "d-hangs"]
    with subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            files = waited_for(lambda: list(tmp_path.glob("bdscan-*/process")))
            yield run, int(waited_for(files[0].read_text))
        finally:
            run.kill()


def waited_for(look: Callable[[], T]) -> T:
    end = time.monotonic() + OTHERS_LONG
    while not (seen := look()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return seen


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@POSIX
@pytest.mark.parametrize(
    ("number", "code", "words"), [(signal.SIGINT, 130, "bdscan: interrupted\n"), (signal.SIGTERM, 143, "")]
)
def test_an_interrupt_ends_both_without_a_trace(
    hanging: tuple[subprocess.Popen[str], int], tmp_path: Path, number: signal.Signals, code: int, words: str
) -> None:
    run, worker = hanging
    run.send_signal(number)
    assert run.communicate(timeout=OTHERS_LONG)[1] == words
    assert run.returncode == code
    waited_for(lambda: is_gone(worker))
    assert not list(tmp_path.glob("bdscan-*"))


@POSIX
def test_who_waits_is_killed_and_who_works_ends_too(hanging: tuple[subprocess.Popen[str], int]) -> None:
    run, worker = hanging
    run.kill()
    waited_for(lambda: is_gone(worker))
