"""The bytes of a file: in memory, or, where they are many, looked at where they lie."""

from __future__ import annotations

import mmap
import os
import re
import stat
from pathlib import Path
from typing import Final, TypeAlias, final

from modelscan_bd.audit.remark import Budget
from modelscan_bd.errors import UnreadableModel, UsageError

_MAPPED_FROM: Final = 2**28  # bytes; smaller files are read, and cannot change under the audit
_NOT_ZERO: Final = re.compile(rb"[^\0]")


@final
class Mapped(mmap.mmap):
    """A file in the address space. Slices are bytes.

    If somebody makes the file shorter meanwhile, the system ends the process: no verdict, and nothing in the file runs.
    """

    def startswith(self, prefix: bytes, start: int = 0) -> bool:
        return self[start : start + len(prefix)] == prefix


Data: TypeAlias = bytes | Mapped


def read(path: Path, budget: Budget) -> Data:
    """A regular file's bytes. Raises UsageError where there is none, UnreadableModel where it is too large."""
    # O_NONBLOCK: opening a named pipe must not wait for its other end
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path} is not a regular file", remedy="Name a model file.")
            if status.st_size > budget.file:
                raise UnreadableModel(f"{path} has more than the {budget.file / 2**30:.1f} GiB allowed")
            if status.st_size < _MAPPED_FROM:
                return file.read(status.st_size)
            return Mapped(descriptor, status.st_size, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def is_blank(data: Data, start: int, stop: int) -> bool:
    """Whether nothing but zeros is there."""
    return _NOT_ZERO.search(data, start, stop) is None
