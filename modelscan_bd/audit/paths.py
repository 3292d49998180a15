"""Names inside archives, as those who unpack them would follow them."""

from __future__ import annotations

import re


def leaves(name: str) -> str | None:
    """In words how a member's name leads out of the folder it is unpacked in; None where it does not."""
    parts = re.split(r"[/\\]", name)
    if ".." in parts:
        return "leads out of the folder it is unpacked in"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    if "\\" in name or not name.isprintable():
        return "holds characters that readers take differently"
    return None
