"""A report for other programs: plain values, each figure with its numbers of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from modelscan_bd.bench.protocol import Rate
from modelscan_bd.bench.report.document import Document
from modelscan_bd.bench.report.power import Reading
from modelscan_bd.bench.store import Result

SCHEMA = "bdscan-benchmark-report/1"
_DIGITS = 5


def as_json(document: Document) -> dict[str, Any]:
    """Plain values; what has no figure is null."""
    hidden = ("readings", "shipped_readings", "results")
    fields = {f.name: getattr(document, f.name) for f in dataclasses.fields(document) if f.name not in hidden}
    found: dict[str, Any] = jsonable({"schema": SCHEMA, **fields, "models": list(rows(document))})
    return found


def rows(document: Document) -> Iterator[dict[str, Any]]:
    """What came of every model: its truth and, where it could be judged, its standing."""
    mine, shipped = ({_id(r.result): r for r in found} for found in (document.readings, document.shipped_readings))
    for result in document.results:
        truth = result["truth"]
        facts = {key: truth.get(key) for key in ("outcome", "attack", "dataset", "arch", "recipe", "ba", "asr")}
        first, second = mine.get(_id(result)), shipped.get(_id(result))
        yield {
            "model": result["model"],
            "tier": result["tier"],
            **facts,
            "target_label": truth["target_label"],
            **_standing(first, ""),
            **_standing(second, "shipped_"),
        }


def _id(result: Result) -> tuple[str, str]:
    return result["model"], result["tier"]


def _standing(reading: Reading | None, prefix: str) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(("deviation", "p", "verdict", "named"))
    if reading is not None:
        severity = reading.seen.severity
        words = {None: "benign", "medium": "suspicious", "high": "infected"}
        values = {
            "deviation": reading.value,
            "p": reading.seen.standing.p,
            "verdict": words[severity],
            "named": reading.named,
        }
    return {prefix + key: value for key, value in values.items()}


def jsonable(value: Any) -> Any:
    """Dataclasses as objects, and figures to five digits."""
    if isinstance(value, Rate):
        return {"count": value.count, "n": value.n, "share": jsonable(value.share), "interval": value.interval}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
