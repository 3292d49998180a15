"""Pickles by their opcodes: exchanged one by one, and whole streams made of well-formed ones."""

from __future__ import annotations

import contextlib
import pickletools
import struct
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from fuzzing.changes import NUMBERS, Change, times
from hypothesis import strategies as st

NAMES: Final = (
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage", "os system",
    "nobody knows", "torch.nn.modules.linear Linear", "builtins getattr", "functools partial",
    "numpy.core.multiarray _reconstruct", "joblib.numpy_pickle NumpyArrayWrapper",
    "torch.storage _load_from_bytes", "_codecs encode", "copyreg _reconstructor", "__builtin__ object",
    "numpy dtype", "torch._utils _rebuild_parameter", "builtins set", "torch Size", "é ü",
)  # fmt: skip
_MORE: Final = ("storage", "module", "0", "cpu", "_modules", "", "a.b.c")
WORDS: Final = (*(part for name in NAMES for part in name.split()), *_MORE)
_WIDTHS: Final = {"1": "<B", "2": "<H", "4": "<I", "8": "<Q"}


def stretches(data: bytes) -> list[tuple[int, int]]:
    """Where its opcodes are, as far as they can be told apart."""
    starts: list[int] = []
    with contextlib.suppress(ValueError, struct.error, IndexError, OverflowError, MemoryError):  # the rest is one piece
        for _, _, position in pickletools.genops(data):
            starts.append(position)
    return list(zip(starts, [*starts[1:], len(data)], strict=False))


def _at(data: bytes, rng: Random) -> tuple[int, int]:
    return rng.choice(stretches(data) or [(0, len(data))])


def put_in(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    at = _at(data, rng)[0]
    return data[:at] + b"".join(opcode(rng) for _ in range(rng.choice((1, 1, 2, 5)))) + data[at:]


def exchanged(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start, stop = _at(data, rng)
    return data[:start] + opcode(rng) + data[stop:]


def taken_out(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start, stop = _at(data, rng)
    return data[:start] + data[stop:]


def multiplied(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    (start, stop), (at, _end) = _at(data, rng), _at(data, rng)
    return data[:at] + times(data[start:stop], rng.choice((1, 2, 50, 5000))) + data[at:]


def transplanted(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    parts = stretches(other) or [(0, len(other))]
    first = rng.randrange(len(parts))
    last = min(first + rng.randint(1, 12), len(parts)) - 1
    at = _at(data, rng)[0]
    return data[:at] + other[parts[first][0] : parts[last][1]] + data[at:]


CHANGES: Final[tuple[Change, ...]] = (put_in, put_in, exchanged, exchanged, taken_out, multiplied, transplanted)


def opcode(rng: Random) -> bytes:
    """One of all there are, with an argument of the kind that it takes."""
    chosen = rng.choice(pickletools.opcodes)
    argument = _argument(chosen.arg.name, rng) if chosen.arg else b""
    return chosen.code.encode("latin-1") + argument


def _argument(kind: str, rng: Random) -> bytes:
    if kind in _LINES:
        return _LINES[kind](rng).encode("utf-8") + b"\n"
    if kind == "float8":
        return rng.choice((bytes(8), b"\x7f\xf0" + bytes(6), b"\xff" * 8))
    width = _WIDTHS[kind[-1]]
    if kind.startswith(("uint", "int")):
        return struct.pack(width, rng.choice((0, 1, 2, 5, rng.choice(NUMBERS))) % 256 ** struct.calcsize(width))
    content = rng.choice(
        (rng.choice(WORDS).encode(), rng.randbytes(rng.randint(0, 9)))
    )  # texts, bytes and long numbers
    length = len(content) if rng.random() < 0.95 else rng.choice(NUMBERS)
    return struct.pack(width, length % 256 ** struct.calcsize(width)) + content


def _number(rng: Random) -> str:
    return str(rng.choice((0, 1, -1, 2, *NUMBERS, "00", "01", "1_0", "x", "9" * 5000, "0x10", "1L", "-0L")))


_LINES: Final[Mapping[str, Callable[[Random], str]]] = {
    "decimalnl_short": _number,
    "decimalnl_long": lambda rng: f"{_number(rng)}L",
    "floatnl": lambda rng: rng.choice(("1.5", "nan", "1e999", "x", "")),
    "stringnl": lambda rng: rng.choice(("'a'", '"b"', "'", "", "'\\x", "'\\u0041'", repr(rng.choice(WORDS)))),
    "stringnl_noescape": lambda rng: rng.choice(WORDS),
    "stringnl_noescape_pair": lambda rng: rng.choice(NAMES).replace(" ", "\n"),
    "unicodestringnl": lambda rng: rng.choice((*WORDS, "\\ud800", "\\x", "\\U00110000")),
}


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Opcodes in any order; values that pickles are made of come often, so that many of them find what they need."""
    rng = draw(st.randoms(use_true_random=True))
    head = draw(st.sampled_from((b"", b"\x80\x02", b"\x80\x04", b"\x80\x05\x95\x20\0\0\0\0\0\0\0")))
    parts = draw(st.lists(st.sampled_from((None, *_USUAL)), max_size=80))
    return head + b"".join(opcode(rng) if part is None else part for part in parts) + draw(st.sampled_from((b".", b"")))


_USUAL: Final = (
    *(
        b"(",
        b")",
        b"}",
        b"]",
        b"K\x01",
        b"X\x01\0\0\0a",
        b"R",
        b"b",
        b"s",
        b"u",
        b"e",
        b"t",
        b"\x85",
        b"\x86",
        b"0",
        b"2",
    ),
    *(b"\x81", b"Q", b"\x94", b"h\0", b"q\0", *(b"c" + name.replace(" ", "\n").encode() + b"\n" for name in NAMES)),
)
