"""What worker processes have in common: their surroundings, their bounds, and their end."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from modelscan_bd.machine import cores as cores
from modelscan_bd.machine import memory

_KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}  # glibc; saves a tenth of the time
_LEAST = 2 << 30  # bytes


def surroundings(threads: int) -> dict[str, str]:
    """The environment of a worker. What the user has set of malloc stays as it is."""
    kept = {key: value for key, value in _KEPT_MEMORY.items() if key not in os.environ}
    return kept | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Changed for what is started in the block: some of it is read before a process runs a line of ours."""
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def leave_with_parent() -> None:
    """For a thread: whoever is killed cannot stop its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # in mid-work too: files are written all or nothing


def bound_memory(size: int | None) -> None:
    """From here on, asking for more than `size` bytes fails in this process, and kills no other. Only on Linux."""
    if size is None or sys.platform != "linux":
        return
    import resource

    _, hardest = resource.getrlimit(resource.RLIMIT_DATA)
    within = size if hardest == resource.RLIM_INFINITY else min(size, hardest)
    resource.setrlimit(resource.RLIMIT_DATA, (within, hardest))


def share_of_memory(workers: int) -> int | None:
    """Bytes for each of so many workers; never less than one needs to start."""
    whole = memory()
    return None if whole is None else max(_LEAST, whole // workers)
