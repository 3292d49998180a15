"""Texts from a file, fit to be shown."""

from __future__ import annotations


def shown(text: str, most: int = 80) -> str:
    """A text from a file, as one short printable line."""
    return repr(text[: most + 1])[1:-1][:most] + ("..." if len(text) > most else "")
