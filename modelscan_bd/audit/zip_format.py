"""A zip archive's own records: its directories, and the header before each member. They need not agree."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.paths import LONGEST

_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
_END64, _LOCATOR = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_BIG = 0xFFFFFFFF
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_COMMENT: Final = 2**16  # bytes that may follow the end record
DESCRIBED_LATER, UTF8 = 0x8, 0x800  # general-purpose flags


@final
@dataclass(frozen=True, kw_only=True)
class Header:
    """What one of the two headers says of a member."""

    raw: bytes  # the name, as far as it is looked at
    flags: int
    method: int
    crc: int
    packed: int  # bytes in the file
    size: int  # bytes, inflated
    at: int  # where the local header is
    start: int = 0  # where the data are; of local headers only
    mode: int = 0  # Unix permissions and kind; of the directory only

    @functools.cached_property
    def name(self) -> str:
        return self.raw.decode("utf-8" if self.flags & UTF8 else "cp437", "backslashreplace")


@final
@dataclass(frozen=True, kw_only=True)
class Directory:
    """One directory. Its headers say where members are in the file, whatever was put before the archive."""

    start: int
    stop: int  # of the directory's own records
    end: int  # of the whole archive, with its comment
    comment: bytes
    headers: tuple[Header, ...]
    agrees: bool  # that it is where the end record says, and as long


def directories(data: Data, ledger: Ledger) -> list[Directory]:
    """All that any reader could take for the directory: from each end record, by its offset and by its size.

    The first is what most readers take.
    """
    found: dict[tuple[int, int], Directory] = {}
    position = len(data)
    floor = max(0, len(data) - _COMMENT - 2 * _END.size)
    while (position := data.rfind(END, floor, position)) >= 0:
        if position + _END.size <= len(data):
            for start, shift, size, end in _starts(data, position):
                if (start, shift) not in found:
                    headers, stop = _headers(data, start, shift, ledger)
                    found[start, shift] = Directory(
                        start=start,
                        stop=stop,
                        end=end,
                        comment=data[position + _END.size : end],
                        headers=headers,
                        agrees=shift == 0 and stop - start == size,
                    )
    return list(found.values())


def _starts(data: Data, position: int) -> Iterator[tuple[int, int, int, int]]:
    """Where the directory of one end record may start, what its offsets then lack, its size, and the archive's end."""
    *_, size, offset, length = _END.unpack_from(data, position)
    stop = position
    if position >= _LOCATOR.size and data[position - _LOCATOR.size :].startswith(b"PK\x06\x07"):
        at = _LOCATOR.unpack_from(data, position - _LOCATOR.size)[2]
        for candidate in {at, position - _LOCATOR.size - _END64.size}:
            if 0 <= candidate <= len(data) - _END64.size and data[candidate : candidate + 4] == b"PK\x06\x06":
                *_, size, offset = _END64.unpack_from(data, candidate)
                stop = candidate
    end = position + _END.size + length
    for start in dict.fromkeys([offset, stop - size]):
        if 0 <= start <= len(data) and (data[start : start + 4] == CENTRAL or (size == 0 and start == stop)):
            yield start, start - offset, size, end


def _headers(data: Data, position: int, shift: int, ledger: Ledger) -> tuple[tuple[Header, ...], int]:
    headers = []
    while data[position : position + 4] == CENTRAL and position + _CENTRAL.size <= len(data):
        ledger.enter()
        fields = _CENTRAL.unpack_from(data, position)
        flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
        name, extra, comment, external, offset = fields[10], fields[11], fields[12], fields[15], fields[16]
        start = position + _CENTRAL.size
        more = data[start + name : start + name + extra]
        size, packed, offset = _wide(more, size, packed, offset)
        headers.append(
            Header(
                raw=data[start : start + min(name, LONGEST + 1)],
                flags=flags,
                method=method,
                crc=crc,
                packed=packed,
                size=size,
                at=offset + shift,
                mode=external >> 16,
            )
        )
        position = start + name + extra + comment
    return tuple(headers), position


def local(data: Data, at: int) -> Header | None:
    """The header in front of a member, or None where there is none."""
    if not 0 <= at <= len(data) - _LOCAL.size or data[at : at + 4] != LOCAL:
        return None
    _, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack_from(data, at)
    start = at + _LOCAL.size
    size, packed, _ = _wide(data[start + name : start + name + extra], size, packed, 0)
    return Header(
        raw=data[start : start + min(name, LONGEST + 1)],
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        at=at,
        start=start + name + extra,
    )


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The 64-bit values, where the 32-bit ones say that they are elsewhere."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if kind == 1:
            values = iter(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
            size, packed, offset = (next(values, old) if old == _BIG else old for old in (size, packed, offset))
            return size, packed, offset
        position += 4 + length
    return size, packed, offset
