"""Zip archives, read by every header that any reader goes by; where headers differ, readers see different files."""

from __future__ import annotations

import stat
import zlib
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final, final

from modelscan_bd.audit import pickles, unpack, zip_format
from modelscan_bd.audit.ledger import OVER_BUDGET, Ledger
from modelscan_bd.audit.measures import width
from modelscan_bd.audit.paths import leaves
from modelscan_bd.audit.pickles import HIDDEN, Look
from modelscan_bd.audit.reading import CONTRADICTS, UNREADABLE
from modelscan_bd.audit.tell import shown
from modelscan_bd.audit.values import Stored
from modelscan_bd.audit.zip_format import DESCRIBED_LATER, UTF8, Directory, Header
from modelscan_bd.grades import Severity

TWO_WAYS, LEAVES = "BD904", "BD907"
_OPTIONS: Final = 0x6  # flags by which a packer says how hard it tried
_DESCRIPTOR: Final = 24  # most bytes that may follow a member's data
_STEP: Final = 2**20  # bytes that are looked at together
_PICKLES = (".pkl", ".pickle", ".p", ".joblib")


def is_zip(data: bytes) -> bool:
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

    data: bytes
    place: str
    ledger: Ledger
    look: Look
    spans: list[tuple[int, int, str]] = field(default_factory=list)
    storages: dict[str, dict[str, Stored]] = field(default_factory=dict)  # by their pickle
    sizes: dict[str, int] = field(default_factory=dict)
    members: dict[str, tuple[Header, Header]] = field(default_factory=dict)
    merged: list[tuple[int, int]] = field(default_factory=list)  # spans without overlaps, in order

    def audit(self) -> bool:
        """Remarks upon all of it. False where it is no archive at all."""
        found = self._outermost(zip_format.directories(self.data, self.ledger))
        if not found and not self.data.startswith(zip_format.LOCAL):
            return False
        if not found:
            message = "The file begins like a zip archive and has no directory: it is cut off or forged."
            self.ledger.note(UNREADABLE, Severity.MEDIUM, message, self.place)
        members = self._members(found)
        self._check_directories(found)
        self._check_names([header for header, _ in members])
        for header, own in members:
            self._audit_member(header, own)
        self._check_gaps(found)
        self._check_sizes()
        self.members = {header.name: (header, own) for header, own in members}
        return True

    def _note(self, rule: str, severity: Severity, message: str, member: str = "") -> None:
        self.ledger.note(rule, severity, message, self._inner(member))

    def _inner(self, member: str) -> str:
        return "/".join(filter(None, [self.place, shown(member, 120)]))

    # ------------------------------------------------------------ which members there are

    def _outermost(self, found: list[Directory]) -> list[Directory]:
        """Without those of archives that fill a stored member, as every .pt2 has one: they are read with the member."""
        rooms = sorted(self._rooms(found[0])) if found else []
        return found[:1] + [directory for directory in found[1:] if not self._lies_in(directory, rooms)]

    def _rooms(self, directory: Directory) -> Iterator[tuple[int, int]]:
        """Where the members lie that are stored as they are and looked into."""
        for header in directory.headers:
            own = zip_format.local(self.data, header.at)
            seen = not _is_storage(header.name) and not header.name.lower().endswith(_PICKLES)
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

    def _members(self, found: list[Directory]) -> list[tuple[Header, Header]]:
        """Each with its two headers. Those of a directory come first, then those that no directory lists."""
        members, seen = [], set[tuple[int, bytes]]()
        for header in chain.from_iterable(directory.headers for directory in found):
            own = zip_format.local(self.data, header.at)
            if own is None:
                self._note(TWO_WAYS, Severity.MEDIUM, "The member is not where the directory says.", header.name)
            elif (header.at, header.raw) not in seen:
                seen.add((header.at, header.raw))
                members.append((header, own))
                self.spans.append((header.at, own.start + header.packed, header.name))
        self.merged = _merged(self.spans)
        listed = {header.at for header, _ in members}
        hidden = [own for own in self._unlisted() if own.at not in listed]
        return members + [(own, own) for own in hidden]

    def _unlisted(self) -> Iterator[Header]:
        ends = {start: stop for start, stop, _ in self.spans}
        position = 0
        while (position := self.data.find(zip_format.LOCAL, position)) >= 0:
            own = zip_format.local(self.data, position)
            if position not in ends and own is not None and not self._inside(position):
                self.ledger.enter()
                message = "The archive holds a member that its directory does not list."
                self._note(HIDDEN, Severity.HIGH, message, own.name)
                yield own
            position = max(position + 4, ends.get(position, 0))

    def _inside(self, position: int) -> bool:
        index = bisect(self.merged, (position, 0)) - 1
        return index >= 0 and self.merged[index][0] < position < self.merged[index][1]

    # ------------------------------------------------------------ whether readers agree

    def _check_directories(self, found: list[Directory]) -> None:
        outer = [directory for directory in found if not self._inside(directory.start)]
        if len(outer) > 1:
            self._note(TWO_WAYS, Severity.HIGH, "The archive has two directories, and readers take one or the other.")
        if any(directory.comment.strip(b"\0") for directory in outer[:1]):
            self._note(HIDDEN, Severity.LOW, "The archive carries a comment, which no model writer makes.")
            pickles.search(self.data, outer[0].stop, len(self.data), self.place, self.ledger)

    def _check_names(self, headers: list[Header]) -> None:
        seen = dict[str, Header]()
        for header in headers:
            folded = header.name.casefold().rstrip("/")
            if folded in seen and seen[folded].at != header.at:
                message = "The name occurs twice: torch takes the first such member, Python the last."
                self._note(TWO_WAYS, Severity.HIGH, message, header.name)
            seen.setdefault(folded, header)
            if why := leaves(header.name):
                self._note(LEAVES, Severity.HIGH, f"The member's name {why}.", header.name)
            if stat.S_ISLNK(header.mode):
                self._note(LEAVES, Severity.HIGH, "The member is a symbolic link.", header.name)

    def _compare(self, header: Header, own: Header) -> None:
        later = own.flags & DESCRIBED_LATER and not (own.crc or own.packed or own.size)
        said, meant = (own.crc, own.packed, own.size), (header.crc, header.packed, header.size)
        if own.raw != header.raw:
            self._note(TWO_WAYS, Severity.HIGH, f"Its own header calls it {shown(own.name)}.", header.name)
        if (own.flags, own.method) != (header.flags, header.method):
            self._note(TWO_WAYS, Severity.MEDIUM, "The two headers of the member differ.", header.name)
        if not later and said != meant and not (own.flags & DESCRIBED_LATER and own.size == header.size):
            self._note(TWO_WAYS, Severity.MEDIUM, "The two headers of the member give different sizes.", header.name)
        if (header.flags | own.flags) & ~(DESCRIBED_LATER | UTF8 | _OPTIONS):
            message = f"The member's flags are {header.flags:#x}, as of one that is encrypted or patched."
            self._note(TWO_WAYS, Severity.MEDIUM, message, header.name)
        if header.method == 0 and header.packed != header.size:
            self._note(TWO_WAYS, Severity.MEDIUM, "The member is stored in another size than it has.", header.name)

    def _check_gaps(self, found: list[Directory]) -> None:
        """Members and directories follow each other; bytes in no member are in nobody's sight."""
        taken = [(start, stop) for start, stop, _ in self.spans]
        taken += [(directory.start, max(directory.end, directory.stop)) for directory in found]
        end = 0
        for start, stop in [*sorted(taken), (len(self.data), len(self.data))]:
            if start - end > (_DESCRIPTOR if end else 0) and self.data[end:start].strip(b"\0"):
                message = f"{start - end} bytes from byte {end} on belong to no member of the archive."
                self._note(HIDDEN, Severity.MEDIUM, message)
                pickles.search(self.data, end, start, self.place, self.ledger)
            end = max(end, stop)
        members = sorted(self.spans)
        if any(later[0] < earlier[1] for earlier, later in pairwise(members)):
            self._note(TWO_WAYS, Severity.HIGH, "Members of the archive overlap.")
        if any(stop > len(self.data) for _, stop, _ in members):
            self._note(UNREADABLE, Severity.MEDIUM, "A member ends beyond the file.")

    # ------------------------------------------------------------ what members hold

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

    def _audit_member(self, header: Header, own: Header) -> None:
        self.ledger.tick()
        self._compare(header, own)
        packed = header.packed or own.packed
        stop = min(own.start + packed, len(self.data))
        methods = [own.method] if header.method == own.method else [header.method, own.method]
        for method in methods:
            try:
                self._audit_content(header, method, own.start, stop)
            except unpack.ERRORS as error:
                self._note(UNREADABLE, Severity.MEDIUM, f"The member is damaged ({str(error)[:80]}).", header.name)

    def _audit_content(self, header: Header, method: int, start: int, stop: int) -> None:
        if method == 0:
            parts: Iterable[bytes] = (self.data[at : min(at + _STEP, stop)] for at in range(start, stop, _STEP))
        else:
            source = unpack.inflater(method, self.data[start : start + 9])
            if source is None:
                message = f"The member is packed by method {method}, which bdscan does not read."
                self._note(UNREADABLE, Severity.MEDIUM, message, header.name)
                return
            parts = unpack.Stream(source, self.data, start + (9 if method == 14 else 0), stop, self.ledger)
        self._audit_parts(header, parts)

    def _audit_parts(self, header: Header, parts: Iterable[bytes]) -> None:
        """Only what may be more than numbers is kept in memory; all of it is counted and summed."""
        kept, size, crc, whole = bytearray(), 0, 0, True
        for part in parts:
            size, crc = size + len(part), zlib.crc32(part, crc)
            if size > max(header.size, 1) and header.size != 0xFFFFFFFF:
                message = f"The member declares {header.size} bytes and inflates to more, as a zip bomb does."
                self._note(OVER_BUDGET, Severity.HIGH, message, header.name)
                whole = False
                break
            if not kept or self._may_matter(header.name, kept):
                kept += part
            if len(kept) > max(self.ledger.budget.held, header.packed):
                message = f"The member would take more than {self.ledger.budget.held // 2**20} MiB of memory."
                self._note(OVER_BUDGET, Severity.HIGH, message, header.name)
                whole = False
                break
        if whole and (size != header.size or crc != header.crc != 0):
            message = "The member's bytes are not those that its headers declare."
            self._note(TWO_WAYS, Severity.MEDIUM, message, header.name)
        self.sizes[header.name] = size
        self._look_into(header.name, bytes(kept if whole else kept[:_STEP]))

    def _may_matter(self, name: str, head: bytearray) -> bool:
        return name.lower().endswith(_PICKLES) or not _is_storage(name) or pickles.is_pickle(bytes(head[:2]))

    def _look_into(self, name: str, content: bytes) -> None:
        if name.lower().endswith(_PICKLES):
            self.storages[name] = pickles.audit(content, self._inner(name), self.ledger, self.look)
        elif not _is_storage(name):
            self.look(content, self._inner(name))
        elif pickles.is_pickle(content):
            pickles.probe(content, self._inner(name), self.ledger, self.look)

    def _check_sizes(self) -> None:
        """What a pickle says of its storages against the members that are those storages."""
        for pickle, storages in self.storages.items():
            folder = pickle.rpartition(".")[0]  # data/ for data.pkl, constants/ for constants.pkl
            for stored in storages.values():
                name = f"{folder}/{stored.key}"
                size = self.sizes.get(name)
                if size == 0 and folder.rpartition("/")[2] == "traced_inputs":
                    continue  # torch keeps the shapes of a trace's inputs and leaves their numbers out
                if size is not None and size != stored.elements * width(stored):
                    message = f"The member has {size} bytes; its pickle says {stored.elements * width(stored)}."
                    self._note(CONTRADICTS, Severity.MEDIUM, message, name)


def _merged(spans: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop, _ in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _is_storage(name: str) -> bool:
    """Raw weights may look like anything, and nothing ever unpickles them."""
    return "/data/" in name and name.rpartition("/")[2].isdigit()
