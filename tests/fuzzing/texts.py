"""Texts by their lines, JSON by its tables, safetensors by its header."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from fuzzing.changes import LARGEST, NUMBERS, Change
from hypothesis import strategies as st

_ODD: Final = (
    *("", "nan", "inf", "-inf", "1e999", "-1", "0", "1.5", "true", "null", "[]", "{}", '""', "'", '"""', "\\", "\0"),
    *("9" * 5000, "1_0", "0x10", "2026-01-01", "1979-05-27T07:32:00Z", "[[[[", "}}}}", ",,,,", "=", "#", "é"),
    *("\ud800", "\u202e", "x" * 300),
)  # fmt: skip
_LEXEME: Final = re.compile(r"-?\d[\d.e+-]*|\w+|\"[^\"\n]*\"|[\[\]{}(),:=.]")


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines(keepends=True) or [""]


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(lines).encode("utf-8", "surrogatepass")


def line_moved(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    lines = _lines(data)
    line = rng.choice((*lines, rng.choice(_lines(rng.choice(others)))))
    if rng.random() < 0.5:
        lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randint(0, len(lines)), line * min(rng.choice((0, 1, 1, 2, 200)), LARGEST // max(len(line), 1)))
    return _joined(lines)


def lexeme_replaced(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    text = data.decode("utf-8", "replace")
    found = list(_LEXEME.finditer(text))
    if not found:
        return data
    chosen = rng.choice(found)
    value = rng.choice((*_ODD, str(rng.choice(NUMBERS)), str(-rng.choice(NUMBERS)), rng.choice(found)[0]))
    return _joined((text[: chosen.start()], value, text[chosen.end() :]))


OF_LINES: Final[tuple[Change, ...]] = (line_moved, lexeme_replaced, lexeme_replaced)


def table_edited(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Another value or key somewhere in the JSON."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return _dumped(_edited(content, rng), rng)


def _edited(value: Any, rng: Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        new = rng.choice((key, key, key, f"{key}x", rng.choice(_ODD), rng.choice(list(value))))
        return value | {new: _edited(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], *[_edited(value[at], rng)] * rng.choice((0, 1, 1, 1, 2, 300)), *value[at + 1 :]]
    return rng.choice((None, True, [], {}, value, [value], {"a": value}, 1.5, float("nan"), *map(int, NUMBERS), *_ODD))


def _dumped(content: Any, rng: Random) -> bytes:
    text = json.dumps(content, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.05:
        text = "[" * 100_000 + text
    return text.encode("utf-8", "surrogatepass")


OF_JSON: Final[tuple[Change, ...]] = (table_edited, table_edited, table_edited, *OF_LINES)


def header_edited(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A safetensors header with another table, its length made to fit, or nearly."""
    length = int.from_bytes(data[:8], "little")
    table = rng.choice(OF_JSON)(data[8 : 8 + length], rng, others)
    if rng.random() < 0.1 and table.endswith(b"}"):
        table = table[:-1] + b"," + table[1:]  # every name twice
    return _with_length(table, rng.choice((0, 0, 0, 0, 1, -1))) + data[8 + length :]


def _with_length(table: bytes, off: int = 0) -> bytes:
    return ((len(table) + off) % 2**64).to_bytes(8, "little") + table


OF_SAFETENSORS: Final[tuple[Change, ...]] = (header_edited, header_edited, header_edited)


@st.composite
def safetensors_files(draw: st.DrawFn) -> bytes:
    """Headers that are nearly right: types, shapes and offsets from few values, so that they often fit together."""
    number = st.sampled_from((0, 4, 8, 24, -4, 2**31, 2**62, 2**64, True, 1.0, "4", None))
    entry = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(("F32", "F16", "I64", "BOOL", "F8_E4M3", "X", "", 3, None)),
            "shape": st.lists(st.sampled_from((0, 1, 2, 3, 6, -1, 2**40, True, 1.5)), max_size=4) | st.none(),
            "data_offsets": st.lists(number, min_size=1, max_size=3) | st.just([0, 24]) | st.text(max_size=2),
        },
        optional={"more": st.none()},
    )
    names = st.sampled_from(("a", "b", "layer.0.weight", "", "\ud800", "x" * 400, "__metadata__"))
    metadata = st.dictionaries(names, st.text(max_size=20) | st.integers() | st.sampled_from(("os.system('x')", "nan")))
    table = draw(st.dictionaries(names, entry | metadata, max_size=5))
    text = json.dumps(table, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return _with_length(text, draw(st.sampled_from((0, 0, 0, 0, 1, 2**40)))) + bytes(draw(st.sampled_from((0, 24, 25))))
