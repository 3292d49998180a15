"""Zip and tar archives and packed streams, by their parts: headers edited, contents changed and packed again."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from fuzzing import opcodes, texts
from fuzzing.changes import BLIND, NUMBERS, Change, changed, times

_SIGNATURES: Final = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08")
_FIELDS: Final = {  # of each kind of header: where its numbers are, and how wide
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2), (38, 4), (42, 4)),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\x06\x06": ((4, 8), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\x06\x07": ((4, 4), (8, 8), (16, 4)),
    b"PK\x07\x08": ((4, 4), (8, 4), (12, 4)),
}  # fmt: skip
_DAMAGED: Final = (
    *(zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, zlib.error, RuntimeError, struct.error),
    *(lzma.LZMAError, tarfile.TarError, OverflowError, IndexError, KeyError),
)


def _headers(data: bytes) -> list[tuple[int, bytes]]:
    return [
        (at, sign)
        for at in range(len(data) - 3)
        if data[at : at + 2] == b"PK" and (sign := data[at : at + 4]) in _FIELDS
    ]


def edited(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """One number of one header, wherever in the file."""
    found = _headers(data)
    if not found:
        return data
    at, sign = rng.choice(found)
    offset, width = rng.choice(_FIELDS[sign])
    old = int.from_bytes(data[at + offset : at + offset + width], "little")
    value = rng.choice((old + 1, old - 1, old * 2, rng.choice(NUMBERS), rng.randrange(len(data) + 1), *range(16)))
    return data[: at + offset] + (value % 256**width).to_bytes(width, "little") + data[at + offset + width :]


def header_doubled(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """A header with what follows it, up to the next, once more at another's place."""
    found = _headers(data)
    if len(found) < 2:
        return data
    first = rng.randrange(len(found) - 1)
    start, stop, at = found[first][0], found[first + 1][0], rng.choice(found)[0]
    return data[:at] + times(data[start:stop], rng.choice((1, 1, 2, 100))) + data[at:]


def repacked(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """The same members, one of them changed, left out, renamed or taken from another archive."""
    try:
        members = [*_members(data)]
        if rng.random() < 0.3:
            members += rng.sample(theirs := [*_members(rng.choice(others))], min(len(theirs), 2))
    except _DAMAGED:
        return data
    if not members:
        return data
    at = rng.randrange(len(members))
    name, content = members[at]
    name = rng.choice(
        (name, name, name, name.upper(), f"../{name}", name + "/", name.split("/")[-1], "archive/data.pkl")
    )
    kept = [] if rng.random() < 0.1 else [(name, _changed(name, content, rng, [inner for _, inner in members]))]
    return _zip([*members[:at], *kept, *members[at + 1 :]], rng)


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.open(info).read(2**18)) for info in archive.infolist()[:60]]


def _changed(name: str, content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    if name.endswith(".json"):
        own: Sequence[Change] = texts.OF_JSON
    elif name.endswith(".py"):
        own = texts.OF_LINES
    else:
        own = opcodes.CHANGES if name.endswith(".pkl") else BLIND
    return changed(content, rng, others, (*own, rng.choice(BLIND)))


def _zip(members: Sequence[tuple[str, bytes]], rng: Random) -> bytes:
    out = io.BytesIO()
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(out, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "") or "x"), content, method)
    return out.getvalue()


OF_ZIP: Final[tuple[Change, ...]] = (edited, edited, header_doubled, repacked, repacked, repacked)

_PACKERS: Final[tuple[tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]], ...]] = (
    (gzip.compress, gzip.decompress),
    (bz2.compress, bz2.decompress),
    (lzma.compress, lzma.decompress),
    (lambda data: lzma.compress(data, lzma.FORMAT_ALONE), lzma.decompress),
    (zlib.compress, zlib.decompress),
)


def packed_again(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """What is in a stream changed, and packed by the same or another packer; what is in none, packed."""
    for _, unpack in _PACKERS:
        try:
            data = unpack(data)[: 2**18]
            break
        except _DAMAGED:
            continue
    inner = changed(data, rng, others, (*opcodes.CHANGES, *BLIND))
    return rng.choice(_PACKERS)[0](inner)


def tar_edited(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A member changed, or a field of a header, with a checksum that fits."""
    if len(data) < 1024:
        return data
    blocks = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"] or [0]
    at = rng.choice(blocks)
    if rng.random() < 0.3:
        return data[: at + 512] + changed(data[at + 512 :], rng, others, opcodes.CHANGES)
    block = bytearray(data[at : at + 512])
    start, width = rng.choice(((0, 100), (100, 8), (124, 12), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)))
    octal = f"{rng.choice(NUMBERS) % 8 ** (width - 1):0{max(width - 1, 1)}o}\0".encode() if width > 1 else b"5"
    value = rng.choice(
        (octal, b"\x80" + rng.randbytes(width), rng.randbytes(width), b"\xff" * width, b"L", b"x", b"S", b"1")
    )
    block[start : start + width] = value[:width].ljust(width, b"\0")
    block[148:156] = f"{sum(block[:148]) + 256 + sum(block[156:]):06o}\0 ".encode()
    return data[:at] + bytes(block) + data[at + 512 :]


OF_PACKED: Final[tuple[Change, ...]] = (packed_again, tar_edited, tar_edited)
