"""Values from a file in a few printable characters: control, bidirectional and other unprintable ones are escaped."""

from __future__ import annotations

from modelscan_bd.audit.opcodes import Unclear
from modelscan_bd.audit.texts import shown as shown
from modelscan_bd.audit.values import Call, Items, Name, Stored, Value

_LONGEST, _DEEPEST, _WIDEST = 80, 2, 4  # characters, nested values, values side by side


def call_text(function: Name, args: Value) -> str:
    inside = ", ".join(text(arg, 1) for arg in args[:_WIDEST]) if isinstance(args, tuple) else text(args, 1)
    more = ", ..." if isinstance(args, tuple) and len(args) > _WIDEST else ""
    return f"{shown(function.full)}({inside}{more})"


def text(value: Value, depth: int = 0) -> str:
    """A short form for messages; what lies deep inside is left out."""
    if isinstance(value, Name):
        return shown(value.full)
    if isinstance(value, Call):
        return "a call" if depth >= _DEEPEST else f"{text(value.function, depth + 1)}(...)"
    if isinstance(value, (str, bytes)):
        short = value[:_LONGEST]
        return repr(short) + ("..." if len(value) > _LONGEST else "")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a number of more than 18 digits"
    if isinstance(value, (list, tuple)):
        return _group(value, depth)
    if isinstance(value, (Items, Stored, Unclear)):
        return {Items: "a dictionary", Stored: "a storage"}.get(type(value), "something computed")
    return repr(value)[:_LONGEST]


def _group(values: list[Value] | tuple[Value, ...], depth: int) -> str:
    if depth >= _DEEPEST:
        return "[...]" if isinstance(values, list) else "(...)"
    inside = ", ".join(text(value, depth + 1) for value in values[:_WIDEST])
    inside += ", ..." if len(values) > _WIDEST else ""
    return f"[{inside}]" if isinstance(values, list) else f"({inside})"
