"""Names inside archives, as those who unpack them would follow them."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 4096  # characters or bytes of a path, as systems allow


def leaves(name: str) -> str | None:
    """In words how a member's name leads out of the folder it is unpacked in; None where it does not."""
    if len(name) > LONGEST:
        return "is longer than any system allows"
    parts = re.split(r"[/\\]", name)
    if ".." in parts:
        return "leads out of the folder it is unpacked in"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    if "\\" in name or not name.isprintable():
        return "holds characters that readers take differently"
    return None
