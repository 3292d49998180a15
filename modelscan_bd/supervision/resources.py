"""What the system lets a process take: limits that hold until it ends, and the surroundings that it starts in."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_KEPT = (
    "CUDA_VISIBLE_DEVICES",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PATH",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "VIRTUAL_ENV",
)


def surroundings(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that reads untrusted files: what it needs, and nobody's credentials."""
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", **more}


def command(module: str) -> list[str]:
    """Runs a module of ours. -P: a torch.py lying in the current folder must not be imported."""
    return [sys.executable, "-P", "-m", module]


def log_own() -> None:
    """What this package logs, and only that, goes to the error output."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("modelscan_bd").setLevel(logging.DEBUG)


def bound(limits: Mapping[str, int], *, for_good: bool) -> None:
    """From here on this process may take so much of each, named as in `resource`; a stricter limit stays."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in limits.items():
        kind = getattr(resource, name)
        _, hardest = resource.getrlimit(kind)
        within = most if hardest == resource.RLIM_INFINITY else min(most, hardest)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (within, within if for_good else hardest))


def relax(*names: str) -> None:
    """Lets this process take as much as was set for good."""
    try:
        import resource
    except ImportError:
        return
    for kind in (getattr(resource, name) for name in names):
        _, hardest = resource.getrlimit(kind)
        resource.setrlimit(kind, (hardest, hardest))


def bounds_memory() -> bool:
    """Whether this system keeps to RLIMIT_AS."""
    return sys.platform == "linux"


def address_space() -> int:
    """Bytes of it that this process has taken. Only on Linux."""
    import resource

    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def processor_seconds() -> int:
    """Of all threads, so far."""
    return int(sum(os.times()[:2])) + 1
