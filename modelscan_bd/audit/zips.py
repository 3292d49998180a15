"""Zip archives, read by every header that any reader goes by, and what their members hold."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from modelscan_bd.audit import pickles, unpack, zip_agreement, zip_format
from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.measures import size
from modelscan_bd.audit.pickles import Look
from modelscan_bd.audit.reading import Reading
from modelscan_bd.audit.rules import CONTRADICTS, OVER_BUDGET, TWO_WAYS, UNREADABLE
from modelscan_bd.audit.tell import shown
from modelscan_bd.audit.zip_format import Header
from modelscan_bd.audit.zip_layout import Layout, Pair, is_pickle_name
from modelscan_bd.grades import Severity

Part: TypeAlias = bytes | memoryview
_STEP: Final = 2**20  # bytes that are looked at together
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_LZMA, _LZMA_HEAD = 14, 9


def is_zip(data: Data) -> bool:
    """By its first bytes, as torch decides, or by its last, as zipfile does."""
    return data.startswith(zip_format.LOCAL) or data.rfind(zip_format.END, max(0, len(data) - 2**16 - 44)) >= 0


@final
@dataclass(eq=False)
class Members(Mapping[str, bytes]):
    """An archive's members by name, each inflated when it is asked for."""

    archive: Zip

    def __getitem__(self, name: str) -> bytes:
        return self.archive.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.archive.members)

    def __len__(self) -> int:
        return len(self.archive.members)


@final
@dataclass(eq=False)
class Zip:
    """One archive. `look` is what looks at whatever its members hold."""

    data: Data
    place: str
    ledger: Ledger
    look: Look
    readings: dict[str, list[Reading]] = field(default_factory=dict)  # of its pickles, by their names
    sizes: dict[str, int] = field(default_factory=dict)  # bytes, counted
    members: dict[str, Pair] = field(default_factory=dict)
    raw: frozenset[str] = frozenset()

    def audit(self) -> bool:
        """Remarks upon all of it. False where it is no archive at all."""
        layout = Layout(self.data, self.ledger, self._note)
        if not layout.directories:
            if not self.data.startswith(zip_format.LOCAL):
                return False
            message = "The file begins like a zip archive and has no directory: it is cut off or forged."
            self._note(UNREADABLE, Severity.MEDIUM, message)
        members = layout.members()
        self.raw = layout.raw
        self._search(zip_agreement.check_directories(layout))
        zip_agreement.check_names([header for header, _ in members], self._note)
        for header, own in members:
            self._audit_member(header, own)
        self._search(zip_agreement.check_gaps(layout))
        self._check_sizes()
        self.members = {header.name: (header, own) for header, own in members}
        return True

    def read(self, name: str) -> bytes:
        """A member's bytes. Empty where they cannot be had within the budget, which has been told by then."""
        header, own = self.members[name]
        stop = min(own.start + (header.packed or own.packed), len(self.data))
        source = unpack.inflater(own.method)
        if source is None:
            return self.data[own.start : stop] if own.method == 0 else b""
        try:
            return unpack.held(unpack.Stream(source, self.data, own.start, stop, self.ledger), self.ledger) or b""
        except unpack.ERRORS:
            return b""

    def _note(self, rule: str, severity: Severity, message: str, member: str = "") -> None:
        self.ledger.note(rule, severity, message, self._inner(member))

    def _inner(self, member: str) -> str:
        return "/".join(filter(None, [self.place, shown(member, 120)]))

    def _search(self, stretches: Iterable[tuple[int, int]]) -> None:
        for start, stop in stretches:
            pickles.search(self.data, start, stop, self.place, self.ledger)

    # ------------------------------------------------------------ what members hold

    def _audit_member(self, header: Header, own: Header) -> None:
        self.ledger.tick()
        zip_agreement.compare(header, own, self._note)
        stop = min(own.start + (header.packed or own.packed), len(self.data))
        for method in dict.fromkeys([header.method, own.method]):
            try:
                self._audit_content(header, method, own.start, stop)
            except unpack.ERRORS as error:
                self._note(UNREADABLE, Severity.MEDIUM, f"The member is damaged ({str(error)[:80]}).", header.name)

    def _audit_content(self, header: Header, method: int, start: int, stop: int) -> None:
        if method == 0:
            parts: Iterable[Part] = _pieces(self.data, start, stop)
        else:
            source = unpack.inflater(method, self.data[start : start + _LZMA_HEAD])
            if source is None:
                message = f"The member is packed by method {method}, which bdscan does not read."
                self._note(UNREADABLE, Severity.MEDIUM, message, header.name)
                return
            parts = unpack.Stream(source, self.data, start + _LZMA_HEAD * (method == _LZMA), stop, self.ledger)
        self._audit_parts(header, parts)

    def _audit_parts(self, header: Header, parts: Iterable[Part]) -> None:
        """Only what may be more than numbers is kept in memory; all of it is counted and summed."""
        kept, size, crc = bytearray(), 0, 0
        for part in parts:
            size, crc = size + len(part), zlib.crc32(part, crc)
            if self._may_matter(header.name, bytes((kept or part)[:4])):
                kept += part
            if told := self._exceeds(header, size, len(kept)):
                self._note(OVER_BUDGET, Severity.HIGH, told, header.name)
                del kept[_STEP:]
                break
        else:
            if size != header.size or crc != header.crc != 0:  # torch can be told to leave out the sum
                message = "The member's bytes are not those that its headers declare."
                self._note(TWO_WAYS, Severity.MEDIUM, message, header.name)
        self.sizes[header.name] = size
        self._look_into(header.name, bytes(kept))

    def _exceeds(self, header: Header, size: int, kept: int) -> str | None:
        if size > max(header.size, 1) and header.size != _UNKNOWN_SIZE:
            return f"The member declares {header.size} bytes and inflates to more, as a zip bomb does."
        if kept > max(self.ledger.budget.held, header.packed):
            return f"The member would take more than {self.ledger.budget.held // 2**20} MiB of memory."
        return None

    def _may_matter(self, name: str, head: bytes) -> bool:
        return name not in self.raw or is_pickle_name(name) or _has_loader(head)

    def _look_into(self, name: str, content: bytes) -> None:
        """Nothing unpickles raw numbers, unless somebody has another program do it."""
        if is_pickle_name(name):
            self.readings[name] = pickles.audit(content, self._inner(name), self.ledger, self.look)
        elif name not in self.raw or content.startswith(zip_format.LOCAL):
            self.look(content, self._inner(name))
        elif pickles.is_pickle(content):
            pickles.probe(content, self._inner(name), self.ledger, self.look)

    def _check_sizes(self) -> None:
        """What a pickle says of its storages against the members that are those storages."""
        for pickle, readings in self.readings.items():
            folder = pickle.rpartition(".")[0]  # data/ for data.pkl, constants/ for constants.pkl
            for stored in pickles.storages(readings).values():
                name = f"{folder}/{stored.key}"
                held = self.sizes.get(name, 0)
                if held == 0 and folder.rpartition("/")[2] == "traced_inputs":
                    continue  # torch keeps the shapes of a trace's inputs and leaves their numbers out
                if held != size(stored):
                    message = f"Storage {shown(stored.key)} has {held} bytes; its pickle says {size(stored)}."
                    self._note(CONTRADICTS, Severity.MEDIUM, message, name)


def _pieces(data: Data, start: int, stop: int) -> Iterator[Part]:
    whole = memoryview(data)
    yield from (whole[at : min(at + _STEP, stop)] for at in range(start, stop, _STEP))


def _has_loader(head: bytes) -> bool:
    return pickles.is_pickle(head) or head == zip_format.LOCAL
