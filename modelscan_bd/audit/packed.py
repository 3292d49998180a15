"""Whatever else wraps a file: compressed streams, tar archives, NumPy's arrays."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from typing import Any, Final

from modelscan_bd.audit import pickles, unpack
from modelscan_bd.audit.data import Data, Mapped, is_blank
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.paths import leaves
from modelscan_bd.audit.pickles import Look
from modelscan_bd.audit.rules import HIDDEN, LEAVES, OVER_BUDGET, UNREADABLE, WRAPPED
from modelscan_bd.audit.tell import shown
from modelscan_bd.grades import Severity

_STREAMS: Final = ((b"\x1f\x8b\x08", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"]\0\0", "lzma"))
_CLOSED: Final = (
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"Rar!\x1a\x07", "RAR"),
)
_TAR_ERRORS = (tarfile.TarError, ValueError, EOFError, OSError, IndexError, OverflowError, RecursionError, MemoryError)
_EXTENDED: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_MOST_EXTENDED: Final = 2**13  # bytes of a header that describes the next member; they are some hundreds
_FIRST: Final = 2**12  # bytes that must inflate before a stream without a name of its own is taken for one


def audit(data: Data, place: str, ledger: Ledger, look: Look) -> bool:
    """Remarks upon what is wrapped here. False where the content is none of these."""
    for magic, name in _CLOSED:
        if data.startswith(magic):
            message = f"The content is packed as {name}, which bdscan does not open."
            ledger.note(WRAPPED, Severity.MEDIUM, message, place)
            pickles.search(data, len(magic), len(data), place, ledger)  # members may be stored as they are
            return True
    if data.startswith(b"\x93NUMPY"):
        _audit_array(data, place, ledger, look)
        return True
    if data[257:262] == b"ustar" or _is_old_tar(data):
        _audit_tar(data, place, ledger, look)
        return True
    kind = _stream(data)
    if kind is not None:
        _audit_stream(data, kind, place, ledger, look)
    return kind is not None


# ---------------------------------------------------------------- compressed streams


def _stream(data: Data) -> str | None:
    for magic, name in _STREAMS:
        if data.startswith(magic):
            return name
    if data[:1] == b"\x78" and len(data) > 2 and int.from_bytes(data[:2], "big") % 31 == 0:
        source = unpack.inflater("zlib")
        try:
            return "zlib" if source is not None and source.decompress(data[:_FIRST], _FIRST) else None
        except unpack.ERRORS:
            return None
    return None


def _audit_stream(data: Data, kind: str, place: str, ledger: Ledger, look: Look) -> None:
    """Streams of one kind may follow each other and are then one content; what else follows is told."""
    inner = "/".join(filter(None, [place, f"{kind} stream"]))
    ledger.note(WRAPPED, Severity.INFO, f"The content is packed as {kind}; what is in it was looked at.", place)
    whole, position = bytearray(), 0
    while position < len(data):
        source = unpack.inflater(kind)
        if source is None:
            return
        stream = unpack.Stream(source, data, position, len(data), ledger)
        try:
            for part in stream:
                whole += part
                if len(whole) > ledger.budget.held:
                    message = f"The content inflates to more than {ledger.budget.held // 2**20} MiB."
                    ledger.note(OVER_BUDGET, Severity.HIGH, message, place)
                    return
        except unpack.ERRORS as error:
            ledger.note(UNREADABLE, Severity.MEDIUM, f"The stream is damaged ({str(error)[:80]}).", place)
            break
        position = stream.end
        if _stream(data[position : position + _FIRST]) != kind:
            break
        ledger.enter()
    if position and not is_blank(data, position, len(data)):
        message = f"{len(data) - position} bytes follow the end of the packed content."
        ledger.note(HIDDEN, Severity.MEDIUM, message, place)
        look(data[position:], f"{inner}, byte {position}")
    look(bytes(whole), inner)


# ---------------------------------------------------------------- tar


def _is_old_tar(data: Data) -> bool:
    """Archives from before `ustar` have nothing but a checksum."""
    if len(data) < 512 or not data[0]:
        return False
    try:
        tarfile.TarInfo.frombuf(data[:512], "utf-8", "surrogateescape")
    except _TAR_ERRORS:
        return False
    return True


def _audit_tar(data: Data, place: str, ledger: Ledger, look: Look) -> None:
    for member in _tar_members(data, place, ledger):
        inner = "/".join(filter(None, [place, shown(member.name, 120)]))
        if why := leaves(member.name):
            ledger.note(LEAVES, Severity.HIGH, f"The member's name {why}.", inner)
        if member.issym() or member.islnk():
            ledger.note(LEAVES, Severity.HIGH, f"The member is a link to {shown(member.linkname)}.", inner)
        elif not (member.isfile() or member.isdir()):
            ledger.note(LEAVES, Severity.HIGH, "The member is a device or a pipe.", inner)
        elif member.isfile():
            content = data[member.offset_data : member.offset_data + member.size]
            look(content, inner)
            if pickles.is_pickle(content):  # torch's first format: pickles and numbers, in turns
                pickles.search(content, 0, len(content), inner, ledger)


def _tar_members(data: Data, place: str, ledger: Ledger) -> Iterator[tarfile.TarInfo]:
    try:
        file = data if isinstance(data, Mapped) else io.BytesIO(data)
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_watched(ledger)) as archive:
            while (member := archive.next()) is not None:
                ledger.enter()
                yield member
    except _TAR_ERRORS as error:
        ledger.note(UNREADABLE, Severity.MEDIUM, f"The tar archive is damaged ({str(error)[:80]}).", place)


def _watched(ledger: Ledger) -> type[tarfile.TarInfo]:
    """Headers that let no time pass unseen. Some releases of Python take its square for long ones (CVE-2024-6232)."""

    class Watched(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
            ledger.tick()
            found = super().frombuf(buf, encoding, errors)
            if found.type in _EXTENDED and found.size > _MOST_EXTENDED:
                raise tarfile.ReadError(f"a header of {found.size} bytes")
            return found

    return Watched


# ---------------------------------------------------------------- NumPy


def _audit_array(data: Data, place: str, ledger: Ledger, look: Look) -> None:
    """An array of objects is a pickle behind a header. The header is Python text: only its letters are asked."""
    wide = data[6:7] not in (b"\x01",)
    start = 12 if wide else 10
    length = int.from_bytes(data[8:start], "little")
    header, start = data[start : start + length], start + length
    described = re.search(rb"descr.*", header, re.DOTALL)
    if described and (b"O" in described[0] or b"object" in described[0] or b"\\" in described[0]):
        message = "The array holds objects, which NumPy can only read by unpickling them."
        ledger.note(WRAPPED, Severity.LOW, message, place)
        if pickles.is_pickle(data[start : start + 2]):
            pickles.audit(data[start:], place, ledger, look)
            return
    pickles.probe(data, place, ledger, look, start)
