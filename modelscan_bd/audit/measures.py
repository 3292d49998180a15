"""Sizes and shapes of what a pickle builds."""

from __future__ import annotations

import re

from modelscan_bd.audit.values import Call, Items, Name, Stored, Value

_WIDTHS = {
    **dict.fromkeys(["Double", "Long", "ComplexFloat"], 8),
    **dict.fromkeys(["Float", "Int", "QInt32"], 4),
    **dict.fromkeys(["Half", "BFloat16", "Short"], 2),
    "ComplexDouble": 16,
}


def width(stored: Stored) -> int:
    """Bytes of one number."""
    return _WIDTHS.get(stored.kind.removesuffix("Storage"), 1)


def itemsize(kind: Value) -> int | None:
    """Bytes of one number of a dtype such as 'f8' or '<U3'; None where it is no plain number or text."""
    found = re.fullmatch(r"[<>|=]?([biufcmMSU])(\d{1,6})", kind, re.ASCII) if isinstance(kind, str) else None
    return int(found[2]) * (4 if found[1] == "U" else 1) if found else None


def holds_items(value: Value) -> bool:
    if isinstance(value, Call):
        return bool(value.items.pairs) or (isinstance(value.args, tuple) and any(map(_filled_list, value.args)))
    return bool(value.pairs if isinstance(value, Items) else value)


def _filled_list(value: Value) -> bool:
    return isinstance(value, list) and bool(value)


def full_name(value: Value) -> str | None:
    return value.full if isinstance(value, Name) else None


def is_count(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
