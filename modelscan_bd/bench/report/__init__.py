"""What a benchmark found, as files: all figures as JSON, all measurements as CSV, and a page for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from modelscan_bd import rulebook
from modelscan_bd.bench import cells_csv
from modelscan_bd.bench.facts import countable
from modelscan_bd.bench.report import document, page, plain
from modelscan_bd.bench.store import Result
from modelscan_bd.rulebook import Rulebook

JSON, CSV, HTML = "report.json", "cells.csv", "report.html"


def write(results: Sequence[Result], out: Path, *, suite: str = "", book: Rulebook | None = None) -> list[Path]:
    """Returns the files. Without a rulebook, the rules that ship judge."""
    found = document.document(
        countable(results), book or rulebook.load(), suite=suite, date=datetime.now(UTC).date().isoformat()
    )
    out.mkdir(parents=True, exist_ok=True)
    figures = json.dumps(plain.as_json(found), indent=2, allow_nan=False, ensure_ascii=False)
    (out / JSON).write_text(figures + "\n", encoding="utf-8")
    cells_csv.write(results, out / CSV)
    (out / HTML).write_text(page.render(found), encoding="utf-8")
    return [out / HTML, out / JSON, out / CSV]
