"""safetensors: a table in JSON, and the numbers behind it. Every byte must belong to exactly one tensor.

The rules are the format's own (https://github.com/huggingface/safetensors#format): they leave no byte unaccounted for,
so that the file can be nothing else at the same time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from modelscan_bd.audit import sayings
from modelscan_bd.audit.data import Data
from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.recognise import is_safetensors
from modelscan_bd.audit.remark import Budget, Remark
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import BdscanError, UnreadableModel, UnsupportedModel
from modelscan_bd.grades import Confidence, Severity

_MOST_HEADER = 16 * 2**20  # bytes; the reference allows 100 MB, and the largest language models need 1
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NARROW = ("F8", "F6", "F4", "U16", "U32", "U64", "C64", "E8")


@final
@dataclass(frozen=True, kw_only=True)
class Header:
    """The table of tensors and what the file says of itself. `start` is where the numbers begin."""

    tensors: dict[str, Any]
    metadata: Any
    start: int


def remarks(data: Data, place: str, budget: Budget) -> Iterator[Remark] | None:
    """None where the bytes are no safetensors file."""
    del budget  # the header's limit is stricter
    return _remarks(data, place or "the file", place) if is_safetensors(data) else None


def header(data: Data, name: str) -> Header:
    """Raises UnreadableModel where the table is cut short, too long or no table at all."""
    length = int.from_bytes(data[:8], "little")
    if length > _MOST_HEADER or 8 + length > len(data):
        raise UnreadableModel(f"{name} declares a safetensors header of {length} bytes, and has {len(data)} in all")
    try:
        table = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UnreadableModel(f"{name} has a broken safetensors header ({shown(str(error), 120)})") from None
    if not isinstance(table, dict):
        raise UnreadableModel(f"{name} has a safetensors header that is no table of tensors")
    metadata = table.pop("__metadata__", {})
    return Header(tensors=table, metadata=metadata, start=8 + length)


def faults(read: Header, name: str, size: int) -> Iterator[Fault]:
    """Metadata that are no text; tensors that overlap, leave holes or have another size. `size` is the file's."""
    if not isinstance(read.metadata, dict) or not all(isinstance(value, str) for value in read.metadata.values()):
        yield _fault(UnreadableModel(f"{name}: its metadata are not text"), "__metadata__")
    spans = []
    for tensor, entry in read.tensors.items():
        try:
            spans.append((*_span(name, tensor, entry), tensor))
        except BdscanError as error:
            yield _fault(error, f"tensor {shown(tensor)}")
    if len(spans) == len(read.tensors):
        yield from _layout_faults(sorted(spans), name, size - read.start)


def _layout_faults(spans: list[tuple[int, int, str]], name: str, size: int) -> Iterator[Fault]:
    """Tensors follow each other without holes and overlaps, from the first byte to the last."""
    end = 0
    for begin, stop, tensor in spans:
        if begin != end:
            what = f"{name}: tensor '{shown(tensor)}' overlaps another or leaves a hole before it"
            yield _fault(UnreadableModel(what), f"tensor {shown(tensor)}")
        end = max(end, stop)
    if end != size:
        what = f"{name} is cut short or carries foreign bytes: its tensors take {end} bytes of {size}"
        yield _fault(UnreadableModel(what), "", Severity.MEDIUM if end > size else Severity.HIGH)


def _span(name: str, tensor: str, entry: object) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise UnreadableModel(f"{name}: the entry of tensor '{shown(tensor)}' is not dtype, shape and offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if isinstance(dtype, str) and dtype.startswith(_NARROW):
        raise UnsupportedModel(
            f"{name} holds {shown(dtype, 12)} numbers, which bdscan does not read", remedy="Save it as float32."
        )
    counts = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 32
    if not (
        counts
        and all(type(n) is int and 0 <= n < 2**62 for n in [*shape, *offsets])
        and isinstance(dtype, str)
        and dtype in _SIZES
    ):
        what = f"{name}: the entry of tensor '{shown(tensor)}' has an unknown type or impossible numbers"
        raise UnreadableModel(what)
    if offsets[1] - offsets[0] != math.prod(shape) * _SIZES[dtype]:
        raise UnreadableModel(f"{name}: tensor '{shown(tensor)}' has another number of bytes than its shape needs")
    return offsets[0], offsets[1]


def _fault(error: BdscanError, place: str, severity: Severity = Severity.HIGH) -> Fault:
    if isinstance(error, UnsupportedModel):
        severity = Severity.LOW
    return Fault(rule="BD930", severity=severity, error=error, place=place)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _remarks(data: Data, name: str, place: str) -> Iterator[Remark]:
    try:
        read = header(data, name)
    except UnreadableModel as error:
        broken = Fault(rule="BD930", severity=Severity.MEDIUM, error=error, place=place, confidence=Confidence.MEDIUM)
        yield broken.remark
        return
    yield from (fault.remark for fault in faults(read, name, len(data)))
    for key, value in read.metadata.items() if isinstance(read.metadata, dict) else ():
        if isinstance(value, str):
            yield from sayings.remarks(
                f"{key} = {value}", "BD931", f"metadata of {name}", f"__metadata__, {shown(key)}"
            )
