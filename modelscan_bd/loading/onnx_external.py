"""ONNX keeps large tensors in files beside the model. A model may name only plain files inside its own folder.

onnx and onnxruntime have each let paths out (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, CVE-2026-34445), so
neither is asked: the bytes are fetched here and put into the tensors.
"""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto

from modelscan_bd.errors import UnreadableModel, UnsafeModel
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.onnx_graph import tensors

_KEYS = {"location", "offset", "length", "checksum"}
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


def inline(model: onnx.ModelProto, path: Path, limits: Limits) -> None:
    """Replaces every reference to an external file by the bytes.

    Raises UnsafeModel where a path leaves the folder, UnreadableModel where the file is missing or too short.
    """
    left = limits.bytes
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            data = _fetch(tensor, path, left)
            left -= len(data)
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = data


def _fetch(tensor: TensorProto, path: Path, most: int) -> bytes:
    where = f"{path.name}: the external data of tensor '{tensor.name[:80]}'"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not set(entries) <= _KEYS or len(entries) != len(tensor.external_data) or "location" not in entries:
        raise UnreadableModel(f"{where} are described by unknown or repeated keys")
    numbers = {key: entries.get(key, "0") for key in ("offset", "length")}
    if not all(_NUMBER.fullmatch(value) for value in numbers.values()):
        raise UnreadableModel(f"{where} have an offset or a length that is no number")
    needed = _size(tensor)
    length = int(numbers["length"]) if "length" in entries else needed
    if needed is None or length != needed or length > most:
        raise UnreadableModel(f"{where} have {length} bytes where its shape needs {needed}, or exceed what is allowed")
    return _read(path.resolve().parent, entries["location"], int(numbers["offset"]), length, where)


def _read(folder: Path, location: str, offset: int, length: int, where: str) -> bytes:
    file = folder / _inside(location, where)
    for part in [file, *file.parents]:
        if part == folder:
            break
        if part.is_symlink():
            raise UnsafeModel(f"{where} lie behind a symbolic link", remedy="Do not load this file.")
    try:
        descriptor = os.open(
            file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except OSError as error:
        raise UnreadableModel(f"{where} are not in '{location[:80]}' ({error.strerror})") from None
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise UnsafeModel(f"{where} lie in a device, a pipe or a hard-linked file", remedy="Do not load this file.")
        if offset + length > status.st_size:
            raise UnreadableModel(f"{where} reach beyond the end of '{location[:80]}'")
        opened.seek(offset)
        return opened.read(length)


def _inside(location: str, where: str) -> PurePosixPath:
    odd = "\\" in location or ":" in location or not location.isprintable()
    relative = PurePosixPath(location)
    if odd or relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise UnsafeModel(
            f"{where} point out of the model's folder ('{location[:80]}')", remedy="Do not load this file."
        )
    return relative


def _size(tensor: TensorProto) -> int | None:
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        return None
    return math.prod(tensor.dims) * kind.itemsize if all(n >= 0 for n in tensor.dims) else None
