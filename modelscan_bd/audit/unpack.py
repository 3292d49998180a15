"""Inflates in small steps. What comes out is counted while it comes out; no size in a header is believed."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, final, runtime_checkable

from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Ledger

_STEP: Final = 2**18  # bytes in, and bytes out
_LZMA_MEMORY: Final = 2**27
ERRORS: Final = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError)


@runtime_checkable
class Inflater(Protocol):
    """bz2's and lzma's interface, and zlib's behind `_Zlib`."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Zlib:
    """zlib with the interface of the other two."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def inflater(method: int | str, head: bytes = b"") -> Inflater | None:
    """For a zip method's number or the name of a stream's format; None where it is not known."""
    if method == 8:
        return _Zlib(-15)
    if method in ("gzip", "zlib"):
        return _Zlib(31 if method == "gzip" else 15)
    if method in (12, "bzip2"):
        return bz2.BZ2Decompressor()
    if method in ("xz", "lzma"):
        return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    if method == 14:
        return _zip_lzma(head)
    return None


def _zip_lzma(head: bytes) -> Inflater | None:
    """A zip member's LZMA: two bytes of version, two of length, five of properties, then the bare stream."""
    if len(head) < 9 or head[2:4] != b"\x05\x00" or head[4] >= 225:
        return None
    literal, position = head[4] % 9, head[4] // 9
    size = min(int.from_bytes(head[5:9], "little"), _LZMA_MEMORY)
    options = {"id": lzma.FILTER_LZMA1, "lc": literal, "lp": position % 5, "pb": position // 5, "dict_size": size}
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
    except lzma.LZMAError:
        return None


@final
@dataclass(eq=False)
class Stream:
    """What `data[start:stop]` inflates to, in parts. Iterating raises one of ERRORS where it is damaged."""

    source: Inflater
    data: Data
    start: int
    stop: int
    ledger: Ledger
    end: int = 0  # after the stream's last byte, once it has ended

    def __iter__(self) -> Iterator[bytes]:
        for at in range(self.start, self.stop, _STEP):
            following = min(at + _STEP, self.stop)
            yield from self._inflated(self.data[at:following])
            if self.source.eof:
                self.end = following - len(self.source.unused_data)
                return
        raise EOFError("it is cut off")

    def _inflated(self, piece: bytes) -> Iterator[bytes]:
        while not self.source.eof:
            out = self.source.decompress(piece, _STEP)
            piece = b""
            self.ledger.inflate(len(out))
            self.ledger.tick()
            if out:
                yield out
            elif self.source.needs_input:
                break


def held(parts: Iterable[bytes], ledger: Ledger) -> bytes | None:
    """All parts together, or None where they would take more memory than a file may."""
    out = bytearray()
    for part in parts:
        out += part
        if len(out) > ledger.budget.held:
            return None
    return bytes(out)
