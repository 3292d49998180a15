"""Sets of small whole numbers as bits of one integer: unions of thousands of nodes at the price of an addition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = int


def bits(numbers: Iterable[int]) -> Bits:
    one = 0
    for number in numbers:
        one |= 1 << number
    return one


def union(sets: Iterable[Bits]) -> Bits:
    whole = 0
    for one in sets:
        whole |= one
    return whole


def members(one: Bits) -> Iterator[int]:
    """From the smallest to the largest."""
    while one:
        lowest = one & -one
        yield lowest.bit_length() - 1
        one ^= lowest


def flags(one: Bits, length: int) -> NDArray[np.uint8]:
    """1 for each number below `length` that is in the set, else 0."""
    packed = np.frombuffer(one.to_bytes(length // 8 + 1, "little"), dtype=np.uint8)
    return np.unpackbits(packed, bitorder="little")[:length]
