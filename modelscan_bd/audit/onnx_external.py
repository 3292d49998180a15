"""ONNX keeps large tensors in files beside the model. A model may name only plain files inside its own folder.

onnx and onnxruntime have each let paths out (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, CVE-2026-34445), so
neither is asked.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, final

import onnx
from onnx import TensorProto

from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.onnx_tensors import is_external, needed
from modelscan_bd.audit.onnx_walk import tensors
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import UnreadableModel, UnsafeModel
from modelscan_bd.grades import Severity

_KEYS = {"location", "offset", "length", "checksum"}
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_ELSEWHERE = re.compile(r"[\\:%$]|^\s*~")  # drives, URLs, streams, Windows folders, what a shell would replace
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)
_LEAVE_IT = "Do not load this file."


@final
@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Bytes of a file beside the model. `whose` begins the sentences about them."""

    file: Path
    offset: int
    length: int
    whose: str


def faults(model: onnx.ModelProto, path: Path | None, name: str, most: int) -> Iterator[Fault]:
    """Everything wrong with the model's external data, of which there may be `most` bytes. None of them are read.

    Without a `path`, as inside an archive, there is nothing beside the model, and only what it says is looked at.
    """
    left = most
    for place, tensor in tensors(model):
        if not is_external(tensor):
            continue
        absent = False
        try:
            stretch = located(tensor, path or Path(name), left)
            left -= stretch.length
            if path is not None:
                absent = not os.path.lexists(stretch.file)  # as after a download of one file out of two
                with opened(stretch, path):
                    pass
        except UnsafeModel as error:
            yield Fault(rule="BD920", severity=Severity.CRITICAL, error=error, place=place)
        except UnreadableModel as error:
            severity = Severity.LOW if absent else Severity.HIGH
            yield Fault(rule="BD921", severity=severity, error=error, place=place)


def located(tensor: TensorProto, path: Path, most: int) -> Stretch:
    """Where a tensor's bytes are, by what the model says.

    Raises UnsafeModel for a path that leaves the folder, UnreadableModel for measures that cannot be.
    """
    whose = f"{path.name}: the external data of tensor '{shown(tensor.name)}'"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if "location" in entries:
        file = path.resolve().parent / _inside(entries["location"], whose)
    if not set(entries) <= _KEYS or len(entries) != len(tensor.external_data) or "location" not in entries:
        raise UnreadableModel(f"{whose} are described by unknown or repeated keys")
    numbers = {key: entries.get(key, "0") for key in ("offset", "length")}
    if not all(_NUMBER.fullmatch(value) for value in numbers.values()):
        raise UnreadableModel(f"{whose} have an offset or a length that is no number")
    size = needed(tensor)
    length = int(numbers["length"]) if "length" in entries else size
    if size is None or length != size or length > most:
        raise UnreadableModel(f"{whose} have {length} bytes where its shape needs {size}, or exceed what is allowed")
    return Stretch(file=file, offset=int(numbers["offset"]), length=length, whose=whose)


@contextmanager
def opened(stretch: Stretch, path: Path) -> Iterator[BinaryIO]:
    """The file, at the right place. Raises UnsafeModel for links and devices, UnreadableModel for missing bytes."""
    _no_links(stretch, path.resolve().parent)
    try:
        descriptor = os.open(
            stretch.file,
            os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0),
        )
    except OSError as error:
        raise UnreadableModel(f"{stretch.whose} are not in '{shown(stretch.file.name)}' ({error.strerror})") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise UnsafeModel(f"{stretch.whose} lie in a device, a pipe or a hard-linked file", remedy=_LEAVE_IT)
        if stretch.offset + stretch.length > status.st_size:
            raise UnreadableModel(f"{stretch.whose} reach beyond the end of '{shown(stretch.file.name)}'")
        file.seek(stretch.offset)
        yield file


def _no_links(stretch: Stretch, folder: Path) -> None:
    for part in [stretch.file, *stretch.file.parents]:
        if part == folder:
            return
        if part.is_symlink():
            raise UnsafeModel(f"{stretch.whose} lie behind a symbolic link", remedy=_LEAVE_IT)


def _inside(location: str, whose: str) -> PurePosixPath:
    relative = PurePosixPath(location)
    odd = bool(_ELSEWHERE.search(location)) or not location.isprintable() or len(location) > 255
    odd = odd or any(_DEVICE.fullmatch(part.split(".")[0].strip()) for part in relative.parts)
    if odd or relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise UnsafeModel(f"{whose} point out of the model's folder ('{shown(location)}')", remedy=_LEAVE_IT)
    return relative
