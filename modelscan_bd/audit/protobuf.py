"""The outermost layer of a protobuf message, without knowing which message it is."""

from __future__ import annotations

from modelscan_bd.audit.data import Data

_MOST = 100_000  # fields; what is not seen by then is not asked for


def outermost(data: Data) -> dict[int, int]:
    """The numbers of the outermost fields and their wire types; empty where the bytes are no such message."""
    position, seen = 0, dict[int, int]()
    for _ in range(_MOST):
        if position == len(data):
            break
        tag, position = varint(data, position)
        wire = tag & 7
        if wire == 0:
            _, position = varint(data, position)
        elif wire == 2:
            length, position = varint(data, position)
            position += length
        else:
            return {}
        if tag >> 3 == 0 or tag >> 3 > 20_000 or position > len(data):
            return {}
        seen.setdefault(tag >> 3, wire)
    return seen


def cut_short(data: Data) -> tuple[dict[int, int], int]:
    """The same up to a field that is longer than the bytes there are, and where its content begins.

    Empty where none is, or where the bytes are no such message as far as they go.
    """
    position, seen = 0, dict[int, int]()
    for _ in range(_MOST):
        tag, position = varint(data, position)
        wire = tag & 7
        length, position = varint(data, position)
        if position >= len(data) or wire not in (0, 2) or not 0 < tag >> 3 <= 20_000:
            break
        seen.setdefault(tag >> 3, wire)
        if wire == 2 and length > len(data) - position:
            return seen, position
        position += length if wire == 2 else 0
    return {}, 0


def varint(data: Data, position: int) -> tuple[int, int]:
    """A number and the position behind it, which lies beyond the data where they are cut short."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, len(data) + 1
