"""The measurements of a benchmark in one SQLite file: a row for every model, and one for every cell.

A cell is one detector on one model, kept as soon as it is measured. No verdict is kept: it follows from the scores and
from rules, and rules change.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias, final

from modelscan_bd.errors import UsageError
from modelscan_bd.types import Tier, Traits

FILE = "results.sqlite"  # of a benchmark's folder
TRUTH = ("attack", "outcome", "target_label", "ba", "asr", "dataset", "arch", "seed")  # what is known of every model

_KIND = 0x62645343  # marks the file as ours
_VERSION = 1
_PATIENCE = 30.0  # seconds until somebody else's writing is an error
_TABLES = """
CREATE TABLE models (
    name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, truth TEXT NOT NULL, traits TEXT
) WITHOUT ROWID;
CREATE TABLE cells (
    model TEXT NOT NULL REFERENCES models, detector TEXT NOT NULL, tier TEXT NOT NULL, seed INTEGER NOT NULL,
    images INTEGER NOT NULL, status TEXT NOT NULL, scores TEXT NOT NULL, top TEXT NOT NULL, seconds REAL, reason TEXT,
    tool TEXT NOT NULL, date TEXT NOT NULL, PRIMARY KEY (model, detector, tier, seed)
) WITHOUT ROWID;
"""
_MEASURED, _SKIPPED, _FAILED = _STATUSES = ("ok", "skipped", "failed")  # as of an outcome

Result: TypeAlias = Mapping[str, Any]
"""All that was measured of one model under one setup, by detector: scores, top (the class that stands out, by score),
seconds, status, and unmeasured (reasons); with model, sha256, tier, images, seed, truth and, if known, traits.
"""


@final
@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a measurement depends on besides model and detector."""

    tier: Tier
    images: int  # looked at, at most: clean ones, or invented ones where the tier has none
    seed: int


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one detector measured on one model, or why it did not."""

    model: str
    detector: str
    setup: Setup
    status: str  # ok, skipped or failed
    scores: Mapping[str, float] = field(default_factory=dict)
    top: Mapping[str, int] = field(default_factory=dict)  # the class that stands out, by score
    seconds: float | None = None
    reason: str | None = None
    traits: Traits | None = None  # of the model, as it was measured
    tool: str
    date: str  # ISO 8601, UTC


@final
class Store:
    """An open file of measurements."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def enter(self, model: str, sha256: str, truth: Mapping[str, Any]) -> None:
        """Says what a model is. Raises UsageError where another file of that name has been measured."""
        known = self._connection.execute("SELECT sha256 FROM models WHERE name = ?", (model,)).fetchone()
        if known and known[0] != sha256:
            raise UsageError(
                f"'{model}' has changed since it was measured (its sha256 is another)",
                remedy="Let the results go elsewhere.",
            )
        self._connection.execute(
            "INSERT INTO models VALUES (?, ?, ?, NULL) ON CONFLICT (name) DO UPDATE SET truth = excluded.truth",
            (model, sha256, _json(truth)),
        )

    def add(self, cell: Cell) -> None:
        """Keeps a cell, in place of an older one; it is on disk when this returns."""
        setup = cell.setup
        self._connection.execute(
            f"INSERT OR REPLACE INTO cells VALUES ({', '.join('?' * 12)})",
            (
                cell.model, cell.detector, setup.tier.value, setup.seed, setup.images, cell.status, _json(cell.scores),
                _json(cell.top), cell.seconds, cell.reason, cell.tool, cell.date,
            ),
        )  # fmt: skip
        if cell.traits:
            traits = _json(asdict(cell.traits))
            self._connection.execute("UPDATE models SET traits = ? WHERE name = ?", (traits, cell.model))

    def done(self, model: str, setup: Setup) -> dict[str, str]:
        """The status of each detector that was tried. Raises UsageError where it was with another number of images."""
        rows = self._connection.execute(
            "SELECT detector, status, images FROM cells WHERE model = ? AND tier = ? AND seed = ?",
            (model, setup.tier.value, setup.seed),
        ).fetchall()
        if other := {images for _, _, images in rows} - {setup.images}:
            raise UsageError(
                f"'{model}' was measured before with {min(other)} images", remedy="Let the results go elsewhere."
            )
        return {detector: status for detector, status, _ in rows}

    def results(self, tier: Tier | None = None) -> list[Result]:
        """By model, tier and seed."""
        try:
            rows = self._connection.execute(
                "SELECT model, sha256, truth, traits, tier, images, seed, detector, status, scores, top, seconds,"
                " reason FROM cells JOIN models ON model = name WHERE ? IS NULL OR tier = ?"
                " ORDER BY model, tier, seed, detector",
                (tier, tier),
            )
            return [_result(key, list(cells)) for key, cells in groupby(rows, key=lambda row: row[:7])]
        except (TypeError, ValueError) as error:
            raise sqlite3.DataError(f"a row is none of ours: {error}") from error


@contextmanager
def opened(file: Path) -> Iterator[Store]:
    """To write into; made if need be. Raises UsageError where it is something else, or cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with _guarded(file), closing(_connected(file, "rwc")) as connection:
        connection.execute("BEGIN IMMEDIATE")  # of two that make the file, one does
        if _is_empty(connection):
            for statement in (*_TABLES.split(";"), f"PRAGMA application_id = {_KIND}"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        _check(connection, file)
        connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
        yield Store(connection)


def read(paths: Sequence[Path], tier: Tier | None = None) -> list[Result]:
    """The results in files, or in a benchmark's folders. Raises UsageError where there are none."""
    found = [result for path in paths for result in _read(path / FILE if path.is_dir() else path, tier)]
    if not found:
        raise UsageError(f"there is no measurement{f' of tier {tier}' if tier else ''} in what was given")
    return found


def _read(file: Path, tier: Tier | None) -> list[Result]:
    """Where nothing can be written, nobody is writing, and SQLite needs no files beside this one."""
    if not file.is_file():
        raise UsageError(f"there is no '{file}'", remedy="Measure first: bdscan benchmark run, or measure.")
    still = not os.access(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()
    with _guarded(file), closing(_connected(file, "ro&immutable=1" if still else "rw")) as connection:
        _check(connection, file)
        return Store(connection).results(tier)


# ---------------------------------------------------------------- what may be wrong with a file


def _connected(file: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None
    )
    connection.execute("PRAGMA trusted_schema = OFF")  # somebody else may have made the file
    return connection


@contextmanager
def _guarded(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UsageError(f"'{file}' cannot be used as measurements: {error}", remedy="Give another file.") from error


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables and _number(connection, "application_id") == 0


def _check(connection: sqlite3.Connection, file: Path) -> None:
    if _number(connection, "application_id") != _KIND:
        raise UsageError(f"'{file}' holds no measurements of bdscan", remedy="Give another file.")
    version = _number(connection, "user_version")
    if version != _VERSION:
        raise UsageError(
            f"'{file}' has version {version}, and this bdscan reads version {_VERSION}", remedy="Use the bdscan of it."
        )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


# ---------------------------------------------------------------- rows


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), allow_nan=False)


def _result(key: tuple[Any, ...], rows: Sequence[tuple[Any, ...]]) -> Result:
    """Raises ValueError where a row is not what `add` would have written."""
    model, sha256, truth, traits, tier, images, seed = key
    cells = {row[7]: row[8:] for row in rows}
    measured = {detector: cell for detector, cell in cells.items() if cell[0] == _MEASURED}
    return {
        "model": model,
        "sha256": sha256,
        "tier": Tier(tier),
        "images": int(images),
        "seed": int(seed),
        "scores": {detector: _numbers(scores) for detector, (_, scores, *_) in measured.items()},
        "top": {detector: _numbers(top) for detector, (_, _, top, *_) in measured.items()},
        "seconds": {d: float(cell[3]) for d, cell in cells.items() if d in measured or cell[3] is not None},
        "status": {detector: _STATUSES[_STATUSES.index(cell[0])] for detector, cell in cells.items()},
        "unmeasured": {detector: str(cell[4]) for detector, cell in cells.items() if detector not in measured},
        "truth": _truth(truth),
        "traits": None if traits is None else Traits(**json.loads(traits)),
    }


def _numbers(text: object) -> dict[str, Any]:
    found = json.loads(str(text))
    if not isinstance(found, dict) or not all(_finite(value) for value in found.values()):
        raise ValueError("a score is no number")
    return found


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _truth(text: object) -> dict[str, Any]:
    found = json.loads(str(text))
    if not isinstance(found, dict) or not set(TRUTH) <= set(found):
        raise ValueError("the truth about a model is missing")
    return found
