"""A zip archive as every reader must see it.

Loaders and scanners read different parts of a zip (local headers, directory, first or last of two equal names), and
attacks live in the difference. Only archives that can be read in one way are let through.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.loading.limits import Limits

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIBED_LATER, _UTF8 = 0x8, 0x800  # general-purpose flags: sizes follow the data; names are UTF-8
_BIG = 0xFFFFFFFF
_CHUNK = 2**20
_ROOM_FOR_GROWTH, _GROWTH = 256 * 2**20, 20  # bytes any file may inflate to; times its size beyond that


@final
@dataclass(frozen=True, kw_only=True)
class Member:
    name: str
    size: int  # bytes, inflated
    start: int  # of its data in the file
    packed: int  # bytes in the file
    deflated: bool
    crc: int


@final
class Archive:
    """A checked archive. `problems` holds what is wrong; it is for the caller to look for code first, then to raise."""

    def __init__(self, name: str, data: bytes, limits: Limits) -> None:
        self.name = name
        self._data = data
        self.problems: list[str] = []
        infos = _directory(name, data, limits)
        self.members = tuple(self._member(info) for info in infos)
        self._check_names()
        self._check_layout(infos)
        self._check_contents()

    def raise_problems(self) -> None:
        if self.problems:
            raise UnreadableModel(f"{self.name} is a damaged or forged archive: {self.problems[0]}")

    def names(self) -> frozenset[str]:
        return frozenset(member.name for member in self.members)

    def read(self, member: Member, most: int) -> bytes:
        """Up to `most` bytes of a member, inflated."""
        out = bytearray()
        for part in self._chunks(member):
            out += part
            if len(out) > most:
                break
        return bytes(out[:most])

    def _member(self, info: zipfile.ZipInfo) -> Member:
        header = self._data[info.header_offset : info.header_offset + _LOCAL.size]
        if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise UnreadableModel(
                f"{self.name} is a damaged archive: '{info.filename}' is not where its directory says"
            )
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        start = info.header_offset + _LOCAL.size + name_length + extra_length
        raw = self._data[info.header_offset + _LOCAL.size : start - extra_length]
        here = (crc, packed, size)
        there = (info.CRC, info.compress_size, info.file_size)
        later = flags & _DESCRIBED_LATER and not any(here)
        self._expect(raw == _raw_name(info), f"'{info.filename}' has another name in its own header")
        self._expect(
            (flags, method) == (info.flag_bits, info.compress_type), f"two headers of '{info.filename}' differ"
        )
        self._expect(later or _agree(here, there), f"two headers of '{info.filename}' give different sizes")
        self._expect(not info.flag_bits & ~(_DESCRIBED_LATER | _UTF8), f"'{info.filename}' is encrypted or patched")
        self._expect(method in (0, 8), f"'{info.filename}' is packed by method {method}")
        return Member(
            name=info.filename,
            size=info.file_size,
            start=start,
            packed=info.compress_size,
            deflated=method == 8,
            crc=info.CRC,
        )

    def _expect(self, fine: object, problem: str) -> None:
        if not fine:
            self.problems.append(problem)

    def _check_names(self) -> None:
        seen = set[str]()
        for member in self.members:
            parts = member.name.split("/")
            local = ".." not in parts and not member.name.startswith("/") and "\\" not in member.name
            self._expect(local and member.name.isprintable(), f"the name {member.name!r} leaves the archive")
            self._expect(member.name not in seen, f"'{member.name}' occurs twice, so two readers see different files")
            seen.add(member.name)

    def _check_layout(self, infos: list[zipfile.ZipInfo]) -> None:
        """Members follow each other from the first byte on, with room for descriptors only between them."""
        spans = sorted((info.header_offset, m.start + m.packed) for info, m in zip(infos, self.members, strict=True))
        end = 0
        for start, stop in spans:
            self._expect(start >= end, "members overlap")
            self._expect(start - end <= 24, f"{start - end} bytes lie hidden between members")
            end = max(end, stop)
        self._expect(end <= len(self._data), "a member ends beyond the file")

    def _check_contents(self) -> None:
        budget = max(_ROOM_FOR_GROWTH, _GROWTH * len(self._data))
        for member in self.members:
            if member.size > budget:
                raise UnreadableModel(
                    f"{self.name} would inflate to more than {budget // 2**20} MiB, as a zip bomb does"
                )
            if not self.problems:
                budget -= self._measured(member, budget)

    def _measured(self, member: Member, budget: int) -> int:
        size = crc = 0
        for part in self._chunks(member):
            size, crc = size + len(part), zlib.crc32(part, crc)
            if size > min(budget, member.size):
                raise UnreadableModel(
                    f"{self.name}: '{member.name}' inflates to more than it declares, as a zip bomb does"
                )
        self._expect(size == member.size, f"'{member.name}' holds {size} bytes and declares {member.size}")
        # torch writes no checksum when it is told not to; zero then stands for none
        self._expect(crc == member.crc or member.crc == 0, f"'{member.name}' does not match its checksum")
        return size

    def _chunks(self, member: Member) -> Iterator[bytes]:
        packed = memoryview(self._data)[member.start : member.start + member.packed]
        if not member.deflated:
            yield from (bytes(packed[at : at + _CHUNK]) for at in range(0, len(packed), _CHUNK))
            return
        inflater, rest = zlib.decompressobj(-15), bytes(packed)
        try:
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _CHUNK)
                rest = inflater.unconsumed_tail
            yield inflater.flush(_CHUNK)
        except zlib.error as error:
            raise UnreadableModel(f"{self.name}: '{member.name}' is damaged ({error})") from None


def _directory(name: str, data: bytes, limits: Limits) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            infos, comment = file.infolist(), file.comment
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, EOFError, OSError) as error:
        raise UnreadableModel(f"{name} is a damaged or truncated zip archive ({error})") from None
    if len(infos) > limits.members:
        raise UnreadableModel(f"{name} has {len(infos)} members, more than the {limits.members} allowed")
    if comment or not infos:
        raise UnreadableModel(
            f"{name} is a zip archive that is empty or carries a comment, which no model writer makes"
        )
    return infos


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437", "surrogateescape")


def _agree(here: tuple[int, ...], there: tuple[int, ...]) -> bool:
    return all(mine in (other, _BIG) for mine, other in zip(here, there, strict=True))
