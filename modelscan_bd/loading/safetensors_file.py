"""safetensors: the header's rules are checked here, in full, before the library reads the tensors.

The rules are the format's own (https://github.com/huggingface/safetensors#format): they leave no byte unaccounted for,
so that the file can be nothing else at the same time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, final

import safetensors
import safetensors.torch
from torch import Tensor

from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.loading.blob import Blob

_MOST_HEADER = 16 * 2**20  # bytes; the reference allows 100 MB, and the largest language models need 1
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NARROW = ("F8", "F6", "F4", "U16", "U32", "U64", "C64", "E8")


@final
@dataclass(frozen=True, kw_only=True)
class SafeFile:
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def load(blob: Blob) -> SafeFile:
    """Raises UnreadableModel where the header breaks a rule, UnsupportedModel for element types torch lacks."""
    name = blob.path.name
    header, start = _header(name, blob.data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UnreadableModel(f"{name}: its metadata are not text")
    _check_spans(name, header, len(blob.data) - start)
    try:
        return SafeFile(tensors=safetensors.torch.load(blob.data), metadata=metadata)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UnreadableModel(f"{name} is a damaged safetensors file ({str(error)[:120]})") from error


def _header(name: str, data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8], "little")
    if length > _MOST_HEADER or 8 + length > len(data):
        raise UnreadableModel(f"{name} declares a safetensors header of {length} bytes, and has {len(data)} in all")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UnreadableModel(f"{name} has a broken safetensors header ({str(error)[:120]})") from None
    if not isinstance(header, dict):
        raise UnreadableModel(f"{name} has a safetensors header that is no table of tensors")
    return header, 8 + length


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _check_spans(name: str, header: dict[str, Any], size: int) -> None:
    """Tensors follow each other without holes and overlaps, from the first byte to the last."""
    end = 0
    for begin, stop, tensor in sorted(_span(name, tensor, entry) for tensor, entry in header.items()):
        if begin != end:
            raise UnreadableModel(f"{name}: tensor '{tensor[:80]}' overlaps another or leaves a hole before it")
        end = stop
    if end != size:
        raise UnreadableModel(f"{name} is cut short or carries foreign bytes: its tensors take {end} bytes of {size}")


def _span(name: str, tensor: str, entry: object) -> tuple[int, int, str]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise UnreadableModel(f"{name}: the entry of tensor '{tensor[:80]}' is not dtype, shape and offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if isinstance(dtype, str) and dtype.startswith(_NARROW):
        raise UnsupportedModel(
            f"{name} holds {dtype} numbers, which bdscan does not read", remedy="Save it as float32."
        )
    counts = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 32
    if not (
        counts
        and all(type(n) is int and 0 <= n < 2**62 for n in [*shape, *offsets])
        and isinstance(dtype, str)
        and dtype in _SIZES
    ):
        raise UnreadableModel(f"{name}: the entry of tensor '{tensor[:80]}' has an unknown type or impossible numbers")
    if offsets[1] - offsets[0] != math.prod(shape) * _SIZES[dtype]:
        raise UnreadableModel(f"{name}: tensor '{tensor[:80]}' has another number of bytes than its shape needs")
    return offsets[0], offsets[1], tensor
