"""What this machine has to offer, and whether it was memory that it lacked."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_CONTAINER = Path("/sys/fs/cgroup/memory.max")  # bytes, or "max"
_LACKING = re.compile(
    r"not enough memory|can't allocate memory|Cannot allocate|bad_alloc|out of memory|can't start new thread",
    re.IGNORECASE,
)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes that all processes here may have together; None where that cannot be known."""
    if sys.platform != "linux":
        return None
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CONTAINER.read_text(encoding="ascii").strip() if _CONTAINER.is_file() else ""
    return min(physical, int(limit)) if limit.isdecimal() else physical


def was_lacking(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is about memory. torch and onnxruntime say so in words only."""
    if error is None:
        return False
    return isinstance(error, MemoryError) or bool(_LACKING.search(str(error))) or was_lacking(error.__cause__)
