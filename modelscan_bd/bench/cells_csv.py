"""Measurements as a plain table for other programs: a line for every score, and for every cell that has none."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelscan_bd.bench.store import TRUTH, Result

_TRUTH = (*TRUTH, "recipe", "classes", "poisoning_rate")
_RUN = ("model", "sha256", "tier", "images", "seed")
_TRUTH_COLUMNS = {key: "model_seed" if key in _RUN else key for key in _TRUTH}
COLUMNS = (*_RUN, *_TRUTH_COLUMNS.values(), "detector", "status", "score", "value", "top", "seconds", "reason")


def write(results: Sequence[Result], file: Path) -> None:
    """`seed` is the scan's, `model_seed` the training's; `top` is the class that stands out."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for result in results:
            writer.writerows(_lines(result))


def _lines(result: Result) -> Iterator[dict[str, Any]]:
    common = {key: result[key] for key in _RUN}
    common |= {column: result["truth"].get(key) for key, column in _TRUTH_COLUMNS.items()}
    for detector, status in result["status"].items():
        seconds = result["seconds"].get(detector)
        cell = common | {"detector": detector, "status": status, "seconds": seconds}
        for score, value in result["scores"].get(detector, {}).items():
            yield cell | {"score": score, "value": value, "top": result["top"][detector].get(score)}
        if detector in result["unmeasured"]:
            yield cell | {"reason": result["unmeasured"][detector]}
