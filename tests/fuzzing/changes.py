"""Changes to bytes whose meaning is not asked: flips, cuts, repeats, splices, numbers where a length may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeAlias

Change: TypeAlias = Callable[[bytes, Random, Sequence[bytes]], bytes]  # of an input; the last are others of its format

LARGEST: Final = 2**18  # bytes of an input; larger ones have tests of their own
NUMBERS: Final = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 2**12, 2**15 - 1, 2**15, 2**16 - 1, 2**16, 2**20),
    *(2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)


def flipped(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _bit in range(rng.choice((1, 1, 2, 4, 16))):
        at = _place(out, rng)
        out[at : at + 1] = bytes([(out[at] if at < len(out) else 0) ^ 1 << rng.randrange(8)])
    return bytes(out)


def replaced(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    piece = rng.choice((bytes(4), b"\xff" * 4, b"\x80", b"\n", b"'", rng.randbytes(rng.randint(1, 8))))
    return data[:at] + piece + data[at + len(piece) :]


def numbered(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """A number in place of another, as wide as those in headers are."""
    at, width = _place(data, rng), rng.choice((1, 2, 4, 4, 8, 8))
    value = (rng.choice(NUMBERS) + rng.choice((-1, 0, 0, 1, len(data) - at))) % 2 ** (8 * width)
    return data[:at] + value.to_bytes(width, rng.choice(("little", "little", "big"))) + data[at + width :]


def inserted(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 8, 64))) + data[at:]


def left_out(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start, stop = _stretch(data, rng)
    return data[:start] + data[stop:]


def cut(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    return data[: _place(data, rng)]


def doubled(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start, stop = _stretch(data, rng)
    at = rng.choice((stop, _place(data, rng)))
    return data[:at] + data[start:stop] + data[at:]


def repeated(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start, stop = _stretch(data, rng)
    return data[:start] + times(data[start:stop], rng.choice((3, 20, 300, 3000))) + data[stop:]


def spliced(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """The beginning of one file, the end of another."""
    other = rng.choice(others)
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def crossed(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A piece of another file in the middle."""
    other = rng.choice(others)
    start, stop = _stretch(other, rng)
    at = _place(data, rng)
    return data[:at] + other[start:stop] + data[at + rng.choice((0, stop - start)) :]


BLIND: Final[tuple[Change, ...]] = (
    *(flipped, flipped, replaced, numbered, numbered, inserted, left_out, cut, doubled, repeated, spliced, crossed),
)


def changed(data: bytes, rng: Random, others: Sequence[bytes], changes: Sequence[Change]) -> bytes:
    """One to four of the changes, one after the other."""
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        data = rng.choice(changes)(data, rng, others)[:LARGEST]
    return data


def times(piece: bytes, count: int) -> bytes:
    return piece * min(count, LARGEST // max(len(piece), 1))


def _place(data: bytes | bytearray, rng: Random) -> int:
    """Often near one of the ends, where headers are."""
    near = rng.choice((64, len(data), len(data)))
    at = rng.randint(0, min(near, len(data)))
    return at if rng.random() < 0.7 else len(data) - at


def _stretch(data: bytes, rng: Random) -> tuple[int, int]:
    start = _place(data, rng)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 64, 512, len(data) // 2)))
