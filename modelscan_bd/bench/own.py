"""A user's own models, and what he says of them: a folder and a CSV table in place of a zoo and its cards.

The table has the columns `file` (relative to the folder) and `outcome` (benign or infected); and, as far as known,
`attack`, `target_label`, `dataset` and `recipe` (what models of one make have in common) and `images` (a folder of
clean images, relative to the table).
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.truth import Known
from modelscan_bd.errors import UsageError

_NEEDED = {"file", "outcome"}
_UNSAID = "own"


@final
@dataclass(frozen=True, kw_only=True)
class Own:
    """A model of the user's, and the folder of clean images that goes with it."""

    known: Known
    images: Path | None


def read(folder: Path, table: Path) -> dict[str, Own]:
    """The models by name. Raises UsageError, naming the line, for a table that does not fit the folder."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"'{table}' cannot be read as a table: {error}") from error
    if not rows or not rows[0].keys() >= _NEEDED:
        raise UsageError(
            f"'{table}' is no table of models",
            remedy="Its first line needs `file` and `outcome`, and each other a model.",
        )
    found = {row["file"]: _own(folder, table, row, line) for line, row in enumerate(rows, start=2)}
    if len(found) < len(rows):
        raise UsageError(f"'{table}' names a file twice")
    return found


def _own(folder: Path, table: Path, row: Mapping[str, str | None], line: int) -> Own:
    where = f"{table}, line {line}"
    file, images = folder / str(row["file"]), row.get("images")
    if not os.path.isfile(file):  # Path.is_file raises where a name is too long
        raise UsageError(f"{where}: there is no file '{file}'")
    if row["outcome"] not in (Outcome.BENIGN, Outcome.INFECTED):
        raise UsageError(f"{where}: the outcome is '{row['outcome']}'", remedy="Say benign or infected.")
    if images and not os.path.isdir(table.parent / images):
        raise UsageError(f"{where}: there is no folder '{table.parent / images}'")
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    known = Known(file=file, sha256=sha256, truth=_truth(row, where))
    return Own(known=known, images=table.parent / images if images else None)


def _truth(row: Mapping[str, str | None], where: str) -> dict[str, Any]:
    target = row.get("target_label")
    if target and not target.isdecimal():
        raise UsageError(f"{where}: the target label '{target}' is no number of a class")
    infected = row["outcome"] == Outcome.INFECTED
    return {
        "outcome": row["outcome"],
        "attack": (row.get("attack") or "unknown") if infected else None,
        "target_label": int(target) if target and infected else None,
        "dataset": row.get("dataset") or _UNSAID,
        "arch": row.get("arch") or str(row["file"]),  # what models of one make have in common is said by the recipe
        "recipe": row.get("recipe") or str(row["file"]),
        "ba": None,
        "asr": None,
        "seed": 0,
    }
