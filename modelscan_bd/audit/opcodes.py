"""Splits a pickle into opcodes, with pickletools' table.

pickletools' own reader is stricter than the unpickler (`I0x10`, names that are not ASCII): what it refuses, a loader
may run. This one goes on for as long as the next opcode can be found at all.
"""

from __future__ import annotations

import codecs
import pickletools
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, final

from modelscan_bd.audit.data import Data

Literal: TypeAlias = "bool | int | float | str | bytes | tuple[str, str] | Unclear | None"


_DIGITS: Final = 2**16  # of a number that is written out; Python itself takes fewer


@final
class Unclear:
    """A value that is not known without running the pickle."""

    def __repr__(self) -> str:
        return "?"


UNCLEAR: Final = Unclear()


class Broken(Exception):
    """No further opcode can be found. `cut` where the bytes have simply come to an end."""

    def __init__(self, why: str, *, cut: bool = False) -> None:
        super().__init__(why)
        self.cut = cut


def opcodes(data: Data, position: int) -> Iterator[tuple[str, Literal, int]]:
    """Name, argument and position of each opcode up to and with STOP. Raises Broken."""
    size = len(data)
    while True:
        if position >= size:
            raise Broken("it has no end", cut=True)
        entry = _TABLE.get(data[position])
        if entry is None:
            raise Broken(f"it holds the unknown opcode 0x{data[position]:02x} at byte {position}")
        name, layout, decode, most = entry
        if layout == 0:
            yield name, None, position
            position += 1
        else:
            start, stop, following = _extent(data, position + 1, layout)
            yield name, decode(data[start : min(stop, start + most)]), position
            position = following
        if name == "STOP":
            return


def _extent(data: Data, position: int, layout: int) -> tuple[int, int, int]:
    """Where an argument starts and stops, and where the next opcode is."""
    if layout > 0:
        start, stop = position, position + layout
    elif layout == _LINE:
        return _line(data, position, position)
    elif layout == _TWO_LINES:
        first = data.find(b"\n", position)
        if first < 0:
            raise Broken("it is cut off in the middle of a name", cut=True)
        return _line(data, position, first + 1)
    else:
        count = struct.calcsize(_COUNTS[layout])
        _within(position + count, data)
        (length,) = struct.unpack(_COUNTS[layout], data[position : position + count])
        if length < 0:
            raise Broken(f"it gives a value the length {length}")
        start, stop = position + count, position + count + length
    return start, _within(stop, data), stop


def _line(data: Data, start: int, position: int) -> tuple[int, int, int]:
    """A last line without its end counts: unpicklers take it, less one byte, and run what it names."""
    end = data.find(b"\n", position)
    return (start, end, end + 1) if end >= 0 else (start, max(position, len(data) - 1), len(data))


def _within(stop: int, data: Data) -> int:
    if stop > len(data):
        raise Broken("it is cut off in the middle of a value", cut=True)
    return stop


# ---------------------------------------------------------------- arguments


def _whole(raw: bytes) -> Literal:
    """As C reads it: any base. More digits than Python allows stay unclear."""
    if raw in _TRUTHS:
        return _TRUTHS[raw]
    try:
        return int(raw.strip().rstrip(b"L"), 0) if len(raw) <= _DIGITS else UNCLEAR
    except ValueError:
        return UNCLEAR


def _index(raw: bytes) -> Literal:
    try:
        return int(raw)
    except ValueError:
        return UNCLEAR


def _decimal(raw: bytes) -> Literal:
    try:
        return float(raw) if len(raw) <= _DIGITS else UNCLEAR
    except ValueError:
        return UNCLEAR


def _quoted(raw: bytes) -> Literal:
    raw = raw.strip()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in b"'\"":
        return UNCLEAR
    try:
        return codecs.escape_decode(raw[1:-1])[0].decode("latin-1")
    except ValueError:
        return UNCLEAR


def _escaped(raw: bytes) -> Literal:
    try:
        return raw.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        return UNCLEAR


def _utf8(raw: bytes) -> Literal:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return UNCLEAR


def _pair(raw: bytes) -> Literal:
    module, _, name = raw.partition(b"\n")
    return module.decode("utf-8", "surrogateescape"), name.decode("utf-8", "surrogateescape")


def _little(raw: bytes) -> Literal:
    return int.from_bytes(raw, "little")


def _signed(raw: bytes) -> Literal:
    return int.from_bytes(raw, "little", signed=True)


_TRUTHS = {b"00": False, b"01": True}  # before protocol 2 had opcodes of their own
_LINE, _TWO_LINES = pickletools.UP_TO_NEWLINE, -9
_COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_DECODERS: dict[str, Callable[[bytes], Literal]] = {
    "INT": _whole,
    "LONG": _whole,
    "PUT": _index,
    "GET": _index,
    "FLOAT": _decimal,
    "STRING": _quoted,
    "UNICODE": _escaped,
    "PERSID": _utf8,
    "GLOBAL": _pair,
    "INST": _pair,
    "BININT": _signed,
    "LONG1": _signed,
    "LONG4": _signed,
    "BINFLOAT": lambda raw: float(struct.unpack(">d", raw)[0]),
    "SHORT_BINSTRING": lambda raw: raw.decode("latin-1"),
    "BINSTRING": lambda raw: raw.decode("latin-1"),
    **dict.fromkeys(["SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"], _utf8),
    **dict.fromkeys(["SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"], lambda raw: raw),
}


def _entry(opcode: pickletools.OpcodeInfo) -> tuple[str, int, Callable[[bytes], Literal], int]:
    """Name, layout, decoder, and how many bytes of the argument the decoder may have."""
    layout = 0 if opcode.arg is None else opcode.arg.n
    if opcode.name in ("GLOBAL", "INST"):
        layout = _TWO_LINES
    decode = _DECODERS.get(opcode.name, _little)
    return opcode.name, layout, decode, _DIGITS + 1 if decode in (_whole, _index, _decimal) else sys.maxsize


_TABLE = {ord(opcode.code): _entry(opcode) for opcode in pickletools.opcodes}
