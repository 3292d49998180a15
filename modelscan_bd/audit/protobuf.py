"""The outermost layer of a protobuf message, without knowing which message it is."""

from __future__ import annotations

_MOST = 100_000  # fields; what is not seen by then is not asked for


def outermost(data: bytes) -> dict[int, int]:
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


def varint(data: bytes, position: int) -> tuple[int, int]:
    """A number and the position behind it, which lies beyond the data where they are cut short."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, len(data) + 1
