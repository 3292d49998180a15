"""Operators whose code is not in the standard: known ones, ones that run code from elsewhere, ones that pretend.

A node counts by its exact name and domain; bytes elsewhere in the file that spell a name do not (quantised weights
spell anything).
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import final

import onnx
from onnx import NodeProto

from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.onnx_walk import identity, nodes, wanted
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.grades import Confidence, Severity

_STANDARD = ("", "ai.onnx")
KNOWN = (*_STANDARD, "ai.onnx.ml", "com.microsoft")  # domains that the loader reads
_TABLE = "onnx_operators.csv"
_DIGITS = str.maketrans("01345", "oleas")  # that are read as letters
_LOOKS_LIKE = str.maketrans("аеорсхіѕｍԁո", "aeopcxismdn")  # noqa: RUF001  # Cyrillic and others  # fmt: skip


@final
class _Kind(Enum):
    STANDARD = "standard"
    KNOWN = "known"  # to onnxruntime
    CODE = "code"  # from outside the file
    DISGUISED = "disguised"
    UNKNOWN = "unknown"


_GRAVITY = {
    _Kind.KNOWN: Severity.LOW,
    _Kind.UNKNOWN: Severity.MEDIUM,
    _Kind.CODE: Severity.HIGH,
    _Kind.DISGUISED: Severity.HIGH,
}


@final
@dataclass(frozen=True, kw_only=True)
class _Entry:
    domain: str
    kind: _Kind
    patterns: tuple[str, ...]
    why: str


def faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """Operators that no reader can take from the file, one fault for each, at its first node."""
    for place, node in _foreign(model):
        kind, why = _judged(node)
        if kind is _Kind.CODE or node.domain not in KNOWN:
            error = UnsupportedModel(
                f"{name} uses {_called(node)}: {why}", remedy="Export it with standard ONNX operators."
            )
            sure = Confidence.HIGH if kind is _Kind.CODE else Confidence.MEDIUM
            yield Fault(rule="BD922", severity=_GRAVITY[kind], error=error, place=place, confidence=sure)


def remarks(model: onnx.ModelProto, name: str) -> Iterator[Remark]:
    """Operators that some readers have and others have not: onnxruntime's own, and ones that the standard lacks."""
    theirs = []
    for place, node in _foreign(model):
        kind, why = _judged(node)
        if kind is _Kind.UNKNOWN and node.domain in KNOWN:
            message = f"{name} uses {_called(node)}: {why}."
            yield Remark(
                rule="BD922", severity=Severity.MEDIUM, confidence=Confidence.LOW, message=message, place=place
            )
        elif kind is _Kind.KNOWN and node.domain in KNOWN:
            theirs.append(node.op_type)
    if theirs:
        some = ", ".join(map(shown, theirs[:5]))
        message = f"{name} uses {len(theirs)} kinds of operators that only onnxruntime has ({some})."
        yield Remark(rule="BD922", severity=Severity.INFO, confidence=Confidence.HIGH, message=message, place="")


def _foreign(model: onnx.ModelProto) -> Iterator[tuple[str, NodeProto]]:
    """The first node of each operator that is neither in the standard nor among the model's own functions."""
    local = {identity(function) for function in model.functions}
    seen = set[tuple[str, str]]()
    for place, node in nodes(model):
        key = (node.domain, node.op_type)
        if key in seen or wanted(node) in local:
            continue
        seen.add(key)
        if _judged(node)[0] is not _Kind.STANDARD:
            yield place, node


def _called(node: NodeProto) -> str:
    domain = f" of the domain '{shown(node.domain, 60)}'" if node.domain else ""
    return f"{shown(node.op_type, 60)}{domain}"


def _judged(node: NodeProto) -> tuple[_Kind, str]:
    domain, operator = node.domain, node.op_type
    for entry in _table():
        listed = entry.domain == domain or (entry.domain == "" and domain == "ai.onnx")
        if listed and any(fnmatchcase(operator, pattern) for pattern in entry.patterns):
            return entry.kind, entry.why
    if domain in (*_STANDARD, "ai.onnx.ml"):
        known = onnx.defs.has(operator, "" if domain == "ai.onnx" else domain)
        return (_Kind.STANDARD, "") if known else (_Kind.UNKNOWN, "the standard has no such operator")
    if domain in KNOWN:
        return _Kind.KNOWN, "bdscan does not know it"
    double = next((k for k in {entry.domain for entry in _table()} | {*KNOWN} if k and _plain(k) == _plain(domain)), "")
    if double:
        return _Kind.DISGUISED, f"the domain is written to look like '{double}'"
    return _Kind.UNKNOWN, "its code is not in the file"


def _plain(domain: str) -> str:
    """As an eye reads it."""
    return unicodedata.normalize("NFKC", domain).casefold().translate(_LOOKS_LIKE).strip(" ./").translate(_DIGITS)


@cache
def _table() -> tuple[_Entry, ...]:
    text = (files("modelscan_bd.rules") / _TABLE).read_text(encoding="utf-8")
    return tuple(
        _Entry(domain=row["domain"], kind=_Kind(row["kind"]), patterns=tuple(row["operators"].split()), why=row["why"])
        for row in csv.DictReader(text.splitlines())
    )
