"""Sizes and shapes of what a pickle builds."""

from __future__ import annotations

import math
import re

from modelscan_bd.audit.values import Call, Items, Name, Stored, Value

_WIDTHS = {
    **dict.fromkeys(["Double", "Long", "ComplexFloat"], 8),
    **dict.fromkeys(["Float", "Int", "QInt32"], 4),
    **dict.fromkeys(["Half", "BFloat16", "Short"], 2),
    **dict.fromkeys(["Char", "Byte", "Bool", "Untyped", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"], 1),
    "ComplexDouble": 16,
}
_KINDS = frozenset(f"{kind}Storage" for kind in _WIDTHS)


def is_storage_kind(value: Value) -> bool:
    return isinstance(value, Name) and value.name in _KINDS and value.full.startswith("torch.")


def size(stored: Stored) -> int:
    """Bytes of all its numbers."""
    return stored.elements * width(stored)


def width(stored: Stored) -> int:
    """Bytes of one number."""
    return _WIDTHS[stored.kind.removesuffix("Storage")]


def array_size(state: Value) -> tuple[int, bool] | None:
    """Bytes that follow joblib's wrapper of an array in the stream, and whether padding precedes them.

    None where they are no numbers but a pickle of their own.
    """
    fields = dict(pair for pair in state.pairs if isinstance(pair[0], str)) if isinstance(state, Items) else {}
    dtype, shape = fields.get("dtype"), fields.get("shape")
    kind = dtype.args[0] if isinstance(dtype, Call) and isinstance(dtype.args, tuple) and dtype.args else None
    each = itemsize(kind)
    if each is None or not isinstance(shape, tuple) or not all(map(is_count, shape)):
        return None
    return each * math.prod(shape[:64]), "numpy_array_alignment_bytes" in fields


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


def is_count(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
