"""Where an archive's members lie, by every directory that a reader may go by and by their own headers."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeAlias, final

from modelscan_bd.audit import zip_format
from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.rules import HIDDEN, TWO_WAYS
from modelscan_bd.audit.zip_format import Directory, Header
from modelscan_bd.grades import Severity

Note: TypeAlias = Callable[[str, Severity, str, str], None]  # rule, severity, message, member
Pair: TypeAlias = tuple[Header, Header]  # what the directory says of a member, and what its own header does
_RAW_IN_PT2: Final = re.compile(r"(.*/)?data/(weights/weight|constants/tensor)_\d+")


@final
@dataclass(eq=False)
class Layout:
    """`raw` are members that hold bare numbers, as the others say; they may look like anything."""

    data: Data
    ledger: Ledger
    note: Note
    directories: list[Directory] = field(default_factory=list)
    raw: frozenset[str] = frozenset()
    spans: list[tuple[int, int]] = field(default_factory=list)  # of the members that a directory lists
    merged: list[tuple[int, int]] = field(default_factory=list)  # the same without overlaps, in order

    def __post_init__(self) -> None:
        found = zip_format.directories(self.data, self.ledger)
        self.raw = _raw({header.name for directory in found for header in directory.headers})
        self.directories = self._outermost(found)

    def members(self) -> list[Pair]:
        """Those of a directory come first, then those that no directory lists."""
        members, seen = [], set[tuple[int, bytes]]()
        for header in chain.from_iterable(directory.headers for directory in self.directories):
            own = zip_format.local(self.data, header.at)
            if own is None:
                self.note(TWO_WAYS, Severity.MEDIUM, "The member is not where the directory says.", header.name)
            elif (header.at, header.raw) not in seen:
                seen.add((header.at, header.raw))
                members.append((header, own))
                self.spans.append((header.at, own.start + header.packed))
        self.merged = _merged(self.spans)
        listed = {header.at for header, _ in members}
        members += [(own, own) for own in self._unlisted() if own.at not in listed]
        self.raw = _raw({header.name for header, _ in members})
        return members

    def inside(self, position: int) -> bool:
        """Whether a byte is one of a listed member."""
        index = bisect(self.merged, (position, 0)) - 1
        return index >= 0 and self.merged[index][0] < position < self.merged[index][1]

    def _unlisted(self) -> Iterator[Header]:
        ends = dict(self.spans)
        position = 0
        while (position := self.data.find(zip_format.LOCAL, position)) >= 0:
            own = zip_format.local(self.data, position)
            if position not in ends and own is not None and not self.inside(position):
                self.ledger.enter()
                if self.directories:
                    message = "The archive holds a member that its directory does not list."
                    self.note(HIDDEN, Severity.HIGH, message, own.name)
                yield own
            position = max(position + 4, ends.get(position, 0))

    # ------------------------------------------------------------ archives that are members

    def _outermost(self, found: list[Directory]) -> list[Directory]:
        """Without those of archives that fill a stored member, as every .pt2 has one: they are read with the member."""
        rooms = sorted(self._rooms(found[0])) if found else []
        return found[:1] + [directory for directory in found[1:] if not self._lies_in(directory, rooms)]

    def _rooms(self, directory: Directory) -> Iterator[tuple[int, int]]:
        """Where the members lie that are stored as they are and looked into."""
        for header in directory.headers:
            own = zip_format.local(self.data, header.at)
            seen = header.name not in self.raw and not is_pickle_name(header.name)
            if own is not None and own.method == header.method == 0 and header.packed == header.size and seen:
                yield own.start, own.start + header.packed

    def _lies_in(self, directory: Directory, rooms: list[tuple[int, int]]) -> bool:
        start, stop = directory.start, max(directory.end, directory.stop)
        for header in directory.headers:
            own = zip_format.local(self.data, header.at)
            if own is None:
                return False
            start, stop = min(start, header.at), max(stop, own.start + header.packed)
        index = bisect(rooms, (start, len(self.data))) - 1
        # what begins with the member is sure to be taken for an archive there, and to be read whole
        return index >= 0 and rooms[index][0] == start and stop <= rooms[index][1]


def is_pickle_name(name: str) -> bool:
    return name.lower().endswith((".pkl", ".pickle", ".p", ".joblib"))


def _raw(names: set[str]) -> frozenset[str]:
    """Numbered members beside the pickle that refers to them, and the tensors of a .pt2."""
    exported = any(name.rpartition("/")[2] == "archive_format" for name in names)
    return frozenset(name for name in names if _has_pickle(name, names) or (exported and _RAW_IN_PT2.fullmatch(name)))


def _has_pickle(name: str, names: set[str]) -> bool:
    folder, _, number = name.rpartition("/")
    return number.isdigit() and f"{folder}.pkl" in names


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
