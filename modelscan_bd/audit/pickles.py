"""Pickles in a file: one after another, torch's old format, and those that hide where nobody looks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from modelscan_bd.audit import names
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.measures import width
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.reading import CONTRADICTS, Reading
from modelscan_bd.audit.tell import shown
from modelscan_bd.audit.values import Stored, Value
from modelscan_bd.grades import Confidence, Severity

HIDDEN = "BD905"
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_STREAMS: Final = 5  # magic, version, system, object, keys; then the numbers
_SEARCHED: Final = 2**25  # bytes of one region that are searched for hidden pickles
_HEAD = re.compile(rb"\x80[\x02-\x05]")
_TEXT_NAME = re.compile(rb"[ci](\w[\w.]{0,80})\n(\w[\w.]{0,80})\n", re.ASCII)
_GRAVE = (Severity.HIGH, Severity.CRITICAL)

Look: TypeAlias = Callable[[bytes, str], None]  # content and place of something inside


def is_pickle(data: bytes) -> bool:
    """Whether a file says that it is one; protocols 0 and 1 do not say so."""
    return data[:1] == b"\x80" and data[1:2] <= b"\x05" and len(data) > 1


def audit(data: bytes, place: str, ledger: Ledger, look: Look) -> dict[str, Stored]:
    """Remarks upon all pickles that follow each other from the first byte on. Gives the storages they refer to."""
    values: list[Value] = []
    storages: dict[str, Stored] = {}
    position = 0
    while position < len(data):
        reading = Reading(place, ledger, doubtful=bool(values) and not is_pickle(data[position : position + 2]))
        start, position = position, reading.read(data, position)
        if start and not (reading.telling or is_pickle(data[start:])):
            _trailing(data, start, place, ledger)
            break
        _keep(reading, data, ledger, look)
        values.append(reading.value)
        storages |= reading.storages
        if not reading.ended:
            search(data, position, len(data), place, ledger)
            break
        if len(values) == _LEGACY_STREAMS and isinstance(values[0], int) and values[0] == _LEGACY_MAGIC:
            position = _check_numbers(data, position, values[-1], storages, place, ledger)
            if position < len(data):
                _trailing(data, position, place, ledger)
            break
    return storages


def probe(data: bytes, place: str, ledger: Ledger, look: Look, start: int = 0) -> bool:
    """Reads bytes that need not be a pickle as if they were. Remarks only where they are one that does harm."""
    reading = Reading(place, ledger, doubtful=True)
    end = reading.read(data, start)
    harmful = reading.telling and any(remark.severity in _GRAVE for remark in reading.remarks)
    if harmful:
        _keep(reading, data, ledger, look)
    return harmful or (start == 0 and reading.telling and (bool(reading.uses) or end == len(data)))


def search(data: bytes, start: int, stop: int, place: str, ledger: Ledger) -> None:
    """Looks for pickles anywhere in a region of the file that holds something else, or should hold nothing."""
    stop = min(stop, start + _SEARCHED)
    for found in _TEXT_NAME.finditer(data, start, stop):
        module, name = found[1].decode("ascii"), found[2].decode("ascii")
        if names.grade(".".join(names.modern(module, name))) is Grade.CODE:
            _tell_hidden(f"{module}.{name}", found.start(), place, ledger)
    for found in _HEAD.finditer(data, start, stop):
        reading = Reading(place, ledger, doubtful=True)
        reading.read(data, found.start())
        for full, use in reading.uses.items():
            if use.grade is Grade.CODE:
                _tell_hidden(full, use.position, place, ledger)


def _tell_hidden(full: str, position: int, place: str, ledger: Ledger) -> None:
    message = f"A pickle that imports {shown(full)} lies where no loader of this format should look."
    ledger.note(HIDDEN, Severity.HIGH, message, f"{place}, byte {position}".lstrip(", "))


def _keep(reading: Reading, data: bytes, ledger: Ledger, look: Look) -> None:
    for remark in reading.remarks:
        ledger.add(remark)
    for content, position in reading.streams:
        look(content, f"{reading.place}, byte {position}".lstrip(", "))
    for start, stop in reading.machine.skipped:
        probe(data, reading.place, ledger, look, start)  # what reads this file without joblib goes on here
        search(data, start, stop, reading.place, ledger)


def _trailing(data: bytes, position: int, place: str, ledger: Ledger) -> None:
    if not data[position:].strip(b"\0\r\n "):
        return
    message = f"{len(data) - position} bytes follow the end of the pickle, and no loader needs them."
    where = f"{place}, byte {position}".lstrip(", ")
    ledger.note(HIDDEN, Severity.MEDIUM, message, where, Confidence.MEDIUM)
    search(data, position, len(data), place, ledger)


def _check_numbers(
    data: bytes, position: int, keys: Value, storages: dict[str, Stored], place: str, ledger: Ledger
) -> int:
    """torch's old format ends in its storages: each a count of numbers, and the numbers."""
    for key in keys if isinstance(keys, list) else []:
        stored = storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        if stored is None or count != stored.elements or position + 8 + count * width(stored) > len(data):
            message = f"Storage {shown(str(key)) if isinstance(key, str) else '?'} is cut short or of another size."
            ledger.note(CONTRADICTS, Severity.MEDIUM, message, f"{place}, byte {position}".lstrip(", "))
            search(data, position, len(data), place, ledger)
            return len(data)
        position += 8 + count * width(stored)
    return position
