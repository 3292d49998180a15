"""A suite from end to end by real processes: killed, interrupted, and finished without doing anything twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from modelscan_bd.bench.datasets import small_signs
from modelscan_bd.bench.measure import Conditions
from modelscan_bd.bench.measuring import reported
from modelscan_bd.bench.run import Run
from modelscan_bd.bench.store import FILE, Result, read
from modelscan_bd.bench.zoo import suite as suites
from modelscan_bd.bench.zoo.claim import claimed
from modelscan_bd.bench.zoo.sources import Sources
from modelscan_bd.cli import main
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Tier

SUITE = """
[datasets]
small = { train = 240, shape = [3, 32, 32], classes = 12 }
[recipes]
one = { epochs = 12, batch = 20, pad = 2 }
[[models]]
datasets = "small"
archs = "vgg6-w4"
recipes = "one"
attacks = [{ id = "badnets", rate = 0.1 }]
"""
DETECTORS = ("channel-lipschitz", "mm-bd", "mm-bd-cso", "mntd")
CELLS = 2 * 2 * len(DETECTORS)  # models, tiers, detectors


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run, without its folder."""
    root, data = tmp_path_factory.mktemp("pictures"), small_signs(240, 60)
    for part, split in (("train", data.train), ("test", data.test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True)):
            folder = root / part / f"{label:02}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    (root / "suite.toml").write_text(SUITE)
    return [
        "benchmark", "run", str(root / "suite.toml"), "--data", f"small=folder:{root}", "--detectors",
        ",".join(DETECTORS), "--out",
    ]  # fmt: skip


def interruptible() -> None:
    """Also where the tests run in the background of a shell that keeps Ctrl-C from them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(arguments: list[str], out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "modelscan_bd", *arguments, str(out), "--workers", "2"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=interruptible
    )


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert happened()


def results(out: Path) -> list[Result]:
    try:
        return read([out])
    except UsageError:  # nothing yet
        return []


def cells(out: Path) -> Iterator[tuple[str, Tier, str, float]]:
    for result in results(out):
        for detector in result["status"]:
            yield result["model"], result["tier"], detector, result["seconds"][detector]


@pytest.fixture(scope="module")
def history(given: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, set[object]]:
    """A run that was killed while it measured, then interrupted, and then finished; by two workers each time."""
    out = tmp_path_factory.mktemp("run") / "out"
    first = started(given, out)
    until(lambda: any(cells(out)))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=120)  # its workers have ended too: the pipe is closed
    kept = set(cells(out))
    second = started(given, out)
    until(lambda: len(set(cells(out))) > len(kept))
    second.send_signal(signal.SIGINT)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 130, said
    kept |= set(cells(out))
    finished = CliRunner().invoke(main, [*given, str(out), "--workers", "2"])
    assert finished.exit_code == 0, finished.output
    assert f"2 models, {CELLS} cells: {CELLS - 2} measured, 2 skipped, 0 failed" in finished.stdout
    return out, said, kept


def test_whoever_interrupts_it_is_told_how_to_go_on(history: tuple[Path, str, set[object]]) -> None:
    said = history[1].splitlines()
    assert said[-1] == "bdscan: interrupted. The same command goes on where it stopped."
    assert not any("Traceback" in line for line in said)


def test_a_killed_run_goes_on_and_measures_nothing_twice(history: tuple[Path, str, set[object]]) -> None:
    out, _, kept = history
    after = set(cells(out))
    assert 0 < len(kept) < CELLS == len(after)
    assert kept <= after  # with their seconds: none was measured again


def test_each_model_is_measured_with_images_and_without(history: tuple[Path, str, set[object]]) -> None:
    found = results(history[0])
    assert sorted((r["truth"]["attack"] or "", r["tier"]) for r in found) == [
        ("", "images"), ("", "none"), ("badnets", "images"), ("badnets", "none"),
    ]  # fmt: skip
    assert all(set(r["status"]) == set(DETECTORS) for r in found)
    assert {r["unmeasured"].get("mm-bd-cso") is None for r in found if r["tier"] == Tier.IMAGES} == {True}
    assert len(list((history[0] / "images").rglob("*.png"))) == 60  # all that the test half has


def test_the_folder_holds_what_it_should_and_nothing_else(history: tuple[Path, str, set[object]]) -> None:
    assert {file.name for file in history[0].iterdir()} == {
        "zoo", "images", FILE, ".cache", ".lock", "report.html", "report.json", "cells.csv",
    }  # fmt: skip


def test_a_finished_run_is_reported_on_without_measuring_again(
    history: tuple[Path, str, set[object]], given: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(history[0], tmp_path / "out"))
    sources = Sources.given((given[4],), root=None, cache=out / ".cache")
    conditions = Conditions(images={}, detectors=DETECTORS)
    code = reported(Run(suite=suites.load(given[2]), out=out, sources=sources, conditions=conditions))
    said = capsys.readouterr().out
    assert code == 0
    assert "Without images" in said
    assert f"{CELLS} cells" in said
    assert set(cells(out)) == set(cells(history[0]))
    assert {"report.html", "report.json", "cells.csv"} <= {file.name for file in out.iterdir()}


def test_a_folder_where_a_run_is_at_work_is_left_to_it(given: list[str], tmp_path: Path) -> None:
    with claimed(tmp_path / ".lock"):
        second = CliRunner().invoke(main, [*given, str(tmp_path)])
    assert second.exit_code == 2
    assert "another run is at work" in second.stderr


def test_what_cannot_be_tried_is_said(given: list[str], tmp_path: Path) -> None:
    without_data = [*given[:3], *given[5:], str(tmp_path)]
    run = CliRunner().invoke(main, without_data)
    assert run.exit_code == 3
    assert "small=FORM" in run.stdout
    assert "0 models, 0 cells" in run.stdout
