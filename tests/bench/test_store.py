"""The file of measurements: what goes in comes out, nothing that was kept is lost, and nothing else is taken for it."""

from __future__ import annotations

import csv
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscan_bd.bench.cells_csv import write
from modelscan_bd.bench.store import FILE, Cell, Setup, opened, read
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Tier, Traits

SETUP = Setup(tier=Tier.IMAGES, images=100, seed=0)
TRUTH: dict[str, Any] = {
    "attack": "badnets", "outcome": "infected", "target_label": 1, "ba": 0.9, "asr": 1.0, "dataset": "signs",
    "arch": "vgg6-w8", "seed": 3, "recipe": "brief",
}  # fmt: skip
TRAITS = Traits(family="convolutional", classes=12, size=32)
CELL = Cell(
    model="one", detector="pixel", setup=SETUP, status="ok", scores={"smallness": 2.5}, top={"smallness": 1},
    seconds=1.5, traits=TRAITS, tool="bdscan", date="2026-01-01T00:00:00+00:00",
)  # fmt: skip
SKIPPED = replace(CELL, detector="ban", status="skipped", scores={}, top={}, seconds=0.0, reason="it needs features")


def filled(file: Path, *cells: Cell) -> Path:
    with opened(file) as store:
        for cell in cells:
            store.enter(cell.model, "abc", TRUTH)
            store.add(cell)
    return file


def test_what_goes_in_comes_out_by_model_and_tier(tmp_path: Path) -> None:
    free = replace(CELL, setup=replace(SETUP, tier=Tier.NONE))
    file = filled(tmp_path / FILE, CELL, SKIPPED, free, replace(SKIPPED, model="a second", seconds=None))
    assert [(r["model"], r["tier"]) for r in read([file])] == [
        ("a second", Tier.IMAGES), ("one", Tier.IMAGES), ("one", Tier.NONE),
    ]  # fmt: skip
    assert read([tmp_path], Tier.NONE) == read([file])[2:]
    assert read([file])[1] == {
        "model": "one", "sha256": "abc", "tier": Tier.IMAGES, "images": 100, "seed": 0, "truth": TRUTH,
        "scores": {"pixel": {"smallness": 2.5}}, "top": {"pixel": {"smallness": 1}},
        "seconds": {"pixel": 1.5, "ban": 0.0}, "status": {"pixel": "ok", "ban": "skipped"},
        "unmeasured": {"ban": "it needs features"}, "traits": TRAITS,
    }  # fmt: skip
    assert read([file])[0]["seconds"] == read([file])[0]["scores"] == {}


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_scores_are_kept_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, scores: dict[str, float]) -> None:
    file = filled(tmp_path_factory.mktemp("store") / FILE, replace(CELL, scores=scores))
    assert read([file])[0]["scores"]["pixel"] == scores


def test_a_newer_measurement_replaces_the_older_one(tmp_path: Path) -> None:
    again = replace(CELL, scores={"smallness": 9.0})
    assert read([filled(tmp_path / FILE, CELL, again)])[0]["scores"] == {"pixel": {"smallness": 9.0}}


def test_measurements_of_another_file_or_of_other_images_do_not_mix(tmp_path: Path) -> None:
    with opened(filled(tmp_path / FILE, CELL)) as store:
        with pytest.raises(UsageError, match="'one' has changed"):
            store.enter("one", "another", TRUTH)
        with pytest.raises(UsageError, match="measured before with 100 images"):
            store.done("one", replace(SETUP, images=50))
        assert store.done("one", SETUP) == {"pixel": "ok"}
        assert store.done("one", replace(SETUP, tier=Tier.NONE)) == store.done("one", replace(SETUP, seed=1)) == {}


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from modelscan_bd.bench.store import Cell, Setup, opened
from modelscan_bd.types import Tier, Traits

setup = Setup(tier=Tier.NONE, images=1, seed=0)
cell = Cell(model="one", detector="", setup=setup, status="ok", seconds=0.0, tool="", date="")
with opened(Path(sys.argv[1])) as store:
    store.enter("one", "abc", eval(sys.argv[2]))
    for number in range(int(sys.argv[4])):
        store.add(replace(cell, detector=f"{sys.argv[3]}{number}"))
        print(number, flush=True)
"""


def writer(file: Path, prefix: str, cells: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(file), repr(TRUTH), prefix, str(cells)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_what_was_kept_survives_a_kill(tmp_path: Path) -> None:
    process = writer(tmp_path / FILE, "d", 10**9)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    said = 5 + len(process.communicate()[0].splitlines())
    (result,) = read([tmp_path])
    assert said <= len(result["scores"]) <= said + 1  # killed before it could say so


def test_two_can_write_at_once(tmp_path: Path) -> None:
    """Each makes the file if it is the first to come."""
    both = [writer(tmp_path / FILE, prefix, 40) for prefix in "ab"]
    assert [process.wait() for process in both if process.communicate()] == [0, 0]
    (result,) = read([tmp_path])
    assert len(result["scores"]) == 80


def sql(*statements: str) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with sqlite3.connect(file) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return spoil


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:4096] + bytes(len(content) - 4096))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda file: file.write_text("{}" * 1000), "not a database"),
        (cut, "cannot be used"),
        (sql("PRAGMA application_id = 7"), "no measurements of bdscan"),
        (sql("PRAGMA user_version = 2"), "version 2"),
        (sql("DROP TABLE cells"), "no such table"),
        (sql("UPDATE cells SET scores = 'x'"), "cannot be used"),
        (sql("UPDATE cells SET scores = '{\"smallness\": NaN}'"), "no number"),
        (sql("UPDATE cells SET scores = '[]'"), "no number"),
        (sql("UPDATE cells SET scores = x'00ff'"), "cannot be used"),
        (sql("UPDATE cells SET tier = 'some'"), "'some'"),
        (sql("UPDATE cells SET status = 'fine'"), "cannot be used"),
        (sql("UPDATE cells SET seconds = 'long'"), "cannot be used"),
        (sql("UPDATE cells SET seconds = NULL"), "cannot be used"),
        (sql("UPDATE models SET truth = '{}'"), "truth"),
    ],
)
def test_a_file_that_holds_something_else_is_named(
    spoil: Callable[[Path], Any], complaint: str, tmp_path: Path
) -> None:
    spoil(filled(tmp_path / FILE, CELL))
    with pytest.raises(UsageError, match=complaint) as raised:
        read([tmp_path])
    assert FILE in str(raised.value)


def test_somebody_elses_database_is_not_written_into(tmp_path: Path) -> None:
    file = tmp_path / "browser.sqlite"
    sql("CREATE TABLE history (page TEXT)")(file)
    before = file.read_bytes()
    with pytest.raises(UsageError, match="no measurements of bdscan"), opened(file):
        pass
    assert file.read_bytes() == before


def test_where_nothing_was_measured_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        read([tmp_path])
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="of tier none"):
        read([filled(tmp_path / FILE, CELL)], Tier.NONE)


def test_nothing_but_the_file_is_left_behind(tmp_path: Path) -> None:
    read([filled(tmp_path / FILE, CELL)])
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_the_table_for_other_programs_has_a_line_for_every_score_and_every_gap(tmp_path: Path) -> None:
    two = replace(CELL, scores={"smallness": 2.5, "size_lead": 1.0})
    write(read([filled(tmp_path / FILE, two, SKIPPED)]), tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open(newline="") as file:
        gap, first, second = csv.DictReader(file)
    assert (gap["detector"], gap["status"], gap["score"], gap["reason"]) == ("ban", "skipped", "", "it needs features")
    assert (first["score"], first["value"], first["top"]) == ("smallness", "2.5", "1")
    assert (second["score"], second["top"], second["model_seed"], second["seed"]) == ("size_lead", "", "3", "0")
