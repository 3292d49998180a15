"""Whether all readers of an archive see the same files: where its records differ, they do not."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from modelscan_bd.audit.data import is_blank
from modelscan_bd.audit.paths import leaves
from modelscan_bd.audit.rules import HIDDEN, LEAVES, TWO_WAYS, UNREADABLE
from modelscan_bd.audit.tell import shown
from modelscan_bd.audit.zip_format import DESCRIBED_LATER, UTF8, Header
from modelscan_bd.audit.zip_layout import Layout, Note
from modelscan_bd.grades import Severity

_OPTIONS: Final = 0x6  # flags by which a packer says how hard it tried
_DESCRIPTOR: Final = 24  # most bytes that may follow a member's data


def check_directories(layout: Layout) -> Iterator[tuple[int, int]]:
    """Notes upon the directories. Gives stretches of the file that hold what no reader needs."""
    outer = [directory for directory in layout.directories if not layout.inside(directory.start)]
    if len(outer) > 1:
        message = "The archive has two directories, and readers take one or the other."
        layout.note(TWO_WAYS, Severity.HIGH, message, "")
    if outer and not outer[0].agrees:
        message = "The archive's end gives another place or length of its directory, where readers differ."
        layout.note(TWO_WAYS, Severity.MEDIUM, message, "")
    if any(directory.comment.strip(b"\0") for directory in outer[:1]):
        layout.note(HIDDEN, Severity.LOW, "The archive carries a comment, which no model writer makes.", "")
        yield outer[0].stop, len(layout.data)


def check_names(headers: Iterable[Header], note: Note) -> None:
    seen = dict[str, Header]()
    for header in headers:
        folded = header.name.casefold().rstrip("/")
        if folded in seen and seen[folded].at != header.at:
            message = "The name occurs twice: torch takes the first such member, Python the last."
            note(TWO_WAYS, Severity.HIGH, message, header.name)
        seen.setdefault(folded, header)
        if why := leaves(header.name):
            note(LEAVES, Severity.HIGH, f"The member's name {why}.", header.name)
        if stat.S_ISLNK(header.mode):
            note(LEAVES, Severity.HIGH, "The member is a symbolic link.", header.name)


def compare(header: Header, own: Header, note: Note) -> None:
    """Notes upon differences between what the directory and the member's own header say."""
    later = own.flags & DESCRIBED_LATER and not (own.crc or own.packed or own.size)
    said, meant = (own.crc, own.packed, own.size), (header.crc, header.packed, header.size)
    if own.raw != header.raw:
        note(TWO_WAYS, Severity.HIGH, f"Its own header calls it {shown(own.name)}.", header.name)
    if (own.flags, own.method) != (header.flags, header.method):
        note(TWO_WAYS, Severity.MEDIUM, "The two headers of the member differ.", header.name)
    if not later and said != meant and not (own.flags & DESCRIBED_LATER and own.size == header.size):
        note(TWO_WAYS, Severity.MEDIUM, "The two headers of the member give different sizes.", header.name)
    if (header.flags | own.flags) & ~(DESCRIBED_LATER | UTF8 | _OPTIONS):
        message = f"The member's flags are {header.flags:#x}, as of one that is encrypted or patched."
        note(TWO_WAYS, Severity.MEDIUM, message, header.name)
    if header.method == 0 and header.packed != header.size:
        note(TWO_WAYS, Severity.MEDIUM, "The member is stored in another size than it has.", header.name)


def check_gaps(layout: Layout) -> Iterator[tuple[int, int]]:
    """Members and directories follow each other; stretches in no member are in nobody's sight, and are given."""
    taken = layout.spans + [(held.start, max(held.end, held.stop)) for held in layout.directories]
    end = 0
    for start, stop in [*sorted(taken), (len(layout.data), len(layout.data))]:
        if start - end > (_DESCRIPTOR if end else 0) and not is_blank(layout.data, end, start):
            message = f"{start - end} bytes from byte {end} on belong to no member of the archive."
            layout.note(HIDDEN, Severity.MEDIUM, message, "")
            yield end, start
        end = max(end, stop)
    if any(later[0] < earlier[1] for earlier, later in pairwise(sorted(layout.spans))):
        layout.note(TWO_WAYS, Severity.HIGH, "Members of the archive overlap.", "")
    if any(stop > len(layout.data) for _, stop in layout.spans):
        layout.note(UNREADABLE, Severity.MEDIUM, "A member ends beyond the file.", "")
