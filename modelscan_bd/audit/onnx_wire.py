"""An ONNX file as protobuf lays it out, counted before protobuf builds it: two bytes can become hundreds in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, final

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from modelscan_bd.audit.fault import Fault
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.grades import Confidence, Severity

BROKEN: Final = "BD925"

_MOST_FIELDS = 1_500_000  # a classifier of 25 000 nodes has less than a million
_MOST_MESSAGES = 500_000  # each an object of its own
_MOST_NODES = 100_000
_MOST_DEPTH = 100  # messages in messages, as protobuf's own readers allow
_MOST_PACKED = 2**27  # bytes of packed numbers, each of which may take eight in memory
_HIDDEN = 256  # bytes that no reader reads, above what an extension of the format would need

_VARINT, _FIXED64, _TEXT, _FIXED32 = 0, 1, 2, 5


@final
@dataclass(frozen=True, kw_only=True)
class Wire:
    """What the bytes hold. `broken` is a reason, '' where there is none."""

    unknown: int  # bytes in fields that ONNX does not have
    twice: tuple[str, ...]  # fields that occur more often than they may
    broken: str


class _Field(NamedTuple):
    name: str
    repeated: bool
    packed: bool  # numbers, one behind the other
    text: bool
    inner: Descriptor | None


class _Broken(Exception):
    """The bytes are no such message."""


def faults(data: bytes, name: str) -> Iterator[Fault]:
    """What the layout alone tells. A file with a fault of this kind that is not about hidden bytes is not parsed."""
    wire = measure(data)
    if wire.broken:
        yield _fault(BROKEN, Severity.MEDIUM, f"{name} is a damaged ONNX file ({wire.broken})")
    if wire.twice:
        what = f"{name} gives '{wire.twice[0]}' more than once, so that two readers see different networks"
        yield _fault("BD924", Severity.MEDIUM, what)
    if wire.unknown:
        what = f"{name} holds {wire.unknown} bytes in fields that ONNX does not have; no reader uses them"
        yield _fault("BD927", Severity.MEDIUM if wire.unknown > _HIDDEN else Severity.LOW, what)


def _fault(rule: str, severity: Severity, what: str) -> Fault:
    return Fault(rule=rule, severity=severity, error=UnreadableModel(what), confidence=Confidence.MEDIUM)


def measure(data: bytes) -> Wire:
    """Walks the whole file without building anything."""
    walk = _Walk(data)
    broken = ""
    try:
        walk.run()
    except _Broken as error:
        broken = str(error)
    return Wire(unknown=walk.unknown, twice=tuple(walk.twice), broken=broken)


@final
class _Walk:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.unknown = self._packed = self._messages = self._nodes = 0
        self.twice: dict[str, None] = {}

    def run(self) -> None:
        """One loop without calls for the common case of one-byte tags and lengths: a file may have a million."""
        data, position, end = self._data, 0, len(self._data)
        table, seen, fields = _fields(onnx.ModelProto.DESCRIPTOR), 0, 0
        outer: list[tuple[int, dict[int, _Field], int]] = []
        while True:
            if position == end:
                if not outer:
                    break
                end, table, seen = outer.pop()
                continue
            began, tag = position, data[position]
            position += 1
            if tag > 0x7F:
                tag, position = _varint(data, began, end)
            start, stop = self._value(tag & 7, position, end)
            fields += 1
            if fields > _MOST_FIELDS:
                raise _Broken(f"more than {_MOST_FIELDS} fields")
            position, field = stop, table.get(tag >> 3)
            if field is None:
                self.unknown += stop - began
                continue
            bit = 1 << (tag >> 3)
            if seen & bit and not field.repeated:
                self.twice[field.name] = None
            seen |= bit
            if tag & 7 == _TEXT:
                self._check(field, start, stop)
                if field.inner is not None:
                    outer.append((end, table, seen))
                    position, end, table, seen = start, stop, _fields(field.inner), 0
                    if len(outer) > _MOST_DEPTH:
                        raise _Broken("its messages nest without end")

    def _value(self, wire: int, start: int, end: int) -> tuple[int, int]:
        """Where a field's value begins and ends."""
        data = self._data
        if wire == _TEXT:
            length = data[start] if start < end else 0x80
            if length > 0x7F:
                length, start = _varint(data, start, end)
            else:
                start += 1
            stop = start + length
        elif wire == _VARINT:
            _, stop = _varint(data, start, end)
        elif wire in (_FIXED32, _FIXED64):
            stop = start + (8 if wire == _FIXED64 else 4)
        else:
            raise _Broken(f"no message of its kind has such a field at byte {start}")
        if stop > end:
            raise _Broken(f"cut short at byte {start}")
        return start, stop

    def _check(self, field: _Field, start: int, stop: int) -> None:
        if field.inner is not None:
            self._messages += 1
            self._nodes += field.inner is onnx.NodeProto.DESCRIPTOR
            if self._messages > _MOST_MESSAGES or self._nodes > _MOST_NODES:
                raise _Broken(f"more than {_MOST_NODES} operations or {_MOST_MESSAGES} parts of other kinds")
        elif field.packed:
            self._packed += stop - start
            if self._packed > _MOST_PACKED:
                raise _Broken(f"more than {_MOST_PACKED} bytes of packed numbers")
        elif field.text:
            try:
                self._data[start:stop].decode("utf-8")
            except UnicodeDecodeError:
                raise _Broken(f"'{field.name}' at byte {start} is no text") from None


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        if byte < 0x80:
            return (value | byte << shift), position
        value |= (byte & 0x7F) << shift
        shift += 7
    raise _Broken(f"cut short at byte {position}")


_NUMBERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_ENUM,
    }
)


@cache
def _fields(descriptor: Any) -> dict[int, _Field]:
    return {
        field.number: _Field(
            name=f"{descriptor.name}.{field.name}",
            repeated=_is_repeated(field),
            packed=field.cpp_type in _NUMBERS and _is_repeated(field),
            text=field.type == FieldDescriptor.TYPE_STRING,
            inner=field.message_type,
        )
        for field in descriptor.fields
    }


def _is_repeated(field: Any) -> bool:
    known = getattr(field, "is_repeated", None)  # since protobuf 6; `label` is on its way out
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if known is None else known)
