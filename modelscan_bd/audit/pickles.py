"""Pickles in a file: one after another, torch's old format, and those that hide where nobody looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from modelscan_bd.audit import names
from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Exhausted, Ledger
from modelscan_bd.audit.measures import size
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.reading import Reading
from modelscan_bd.audit.remark import Budget
from modelscan_bd.audit.rules import CONTRADICTS, HIDDEN
from modelscan_bd.audit.tell import shown
from modelscan_bd.audit.values import Stored
from modelscan_bd.grades import Confidence, Severity

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
LEGACY_STREAMS: Final = 5  # magic, version, system, object, keys; then the numbers
_SEARCHED: Final = 2**25  # bytes of one region that are searched for hidden pickles
_WINDOW: Final = 2**20  # bytes of it that are searched at once
_LONGEST_NAME: Final = 165  # bytes that fit the expression below
_HEAD = re.compile(rb"\x80[\x02-\x05]")
_TEXT_NAME = re.compile(rb"[ci](\w[\w.]{0,80})\n(\w[\w.]{0,80})\n", re.ASCII)
_NOT_BLANK: Final = re.compile(rb"[^\0\r\n ]")
_GRAVE = (Severity.HIGH, Severity.CRITICAL)

Look: TypeAlias = Callable[[bytes, str], None]  # content and place of something inside


def is_pickle(data: Data) -> bool:
    """Whether a file says that it is one; protocols 0 and 1 do not say so."""
    return data[:1] == b"\x80" and data[1:2] <= b"\x05" and len(data) > 1


def audit(data: Data, place: str, ledger: Ledger, look: Look) -> list[Reading]:
    """Remarks upon all pickles that follow each other from the first byte on. Gives what was read of each."""
    readings: list[Reading] = []
    position = 0
    while position < len(data):
        reading = Reading(place, ledger, doubtful=bool(readings) and not is_pickle(data[position : position + 2]))
        start, position = position, reading.read(data, position)
        if start and not (reading.telling or is_pickle(data[start : start + 2])):
            _trailing(data, start, place, ledger)
            break
        _keep(reading, data, ledger, look)
        readings.append(reading)
        if not reading.ended:
            search(data, position, len(data), place, ledger)
            break
        if len(readings) == LEGACY_STREAMS and is_legacy(readings):
            position = _check_numbers(data, position, readings, place, ledger)
            if position < len(data):
                _trailing(data, position, place, ledger)
            break
    return readings


def is_legacy(readings: list[Reading]) -> bool:
    """Whether the first of them is the mark of torch's format before it used zip archives."""
    return bool(readings) and type(readings[0].value) is int and readings[0].value == LEGACY_MAGIC


def storages(readings: list[Reading]) -> dict[str, Stored]:
    """All storages that they refer to, by key."""
    return {key: stored for reading in readings for key, stored in reading.storages.items()}


def probe(data: Data, place: str, ledger: Ledger, look: Look, start: int = 0) -> bool:
    """Reads bytes that need not be a pickle as if they were. Remarks only where they are one that does harm."""
    reading = Reading(place, ledger, doubtful=True)
    end = reading.read(data, start)
    harmful = reading.telling and any(remark.severity in _GRAVE for remark in reading.remarks)
    if harmful:
        _keep(reading, data, ledger, look)
    return harmful or (start == 0 and reading.telling and (bool(reading.names) or end == len(data)))


def imports_code(data: Data) -> bool:
    """Whether bytes that say that they are a pickle would run code. Nothing is remarked upon."""
    reading = Reading("", Ledger(Budget(seconds=1.0), len(data)))
    try:
        reading.read(data, 0)
    except Exhausted:
        return True  # no text of use is as costly
    return any(name.grade is Grade.CODE for name in reading.names.values())


def search(data: Data, start: int, stop: int, place: str, ledger: Ledger) -> None:
    """Looks for pickles anywhere in a region of the file that holds something else, or should hold nothing."""
    stop = min(stop, start + _SEARCHED)
    for found in _text_names(data, start, stop, ledger):
        module, name = found[1].decode("ascii"), found[2].decode("ascii")
        if names.grade(".".join(names.modern(module, name))) is Grade.CODE:
            _tell_hidden(f"{module}.{name}", found.start(), place, ledger)
    for found in _HEAD.finditer(data, start, stop):
        reading = Reading(place, ledger, doubtful=True)
        reading.read(data, found.start())
        for name in reading.names.values():
            if name.grade is Grade.CODE:
                _tell_hidden(name.full, name.position, place, ledger)


def _text_names(data: Data, start: int, stop: int, ledger: Ledger) -> Iterator[re.Match[bytes]]:
    """Names as old protocols write them. In windows: time is looked at between them, as it is after each name."""
    for at in range(start, stop, _WINDOW):
        ledger.tick()
        for found in _TEXT_NAME.finditer(data, at, min(at + _WINDOW + _LONGEST_NAME, stop)):
            ledger.tick()
            yield found


def _tell_hidden(full: str, position: int, place: str, ledger: Ledger) -> None:
    message = f"A pickle that imports {shown(full)} lies where no loader of this format should look."
    ledger.note(HIDDEN, Severity.HIGH, message, f"{place}, byte {position}".lstrip(", "))


def _keep(reading: Reading, data: Data, ledger: Ledger, look: Look) -> None:
    for remark in reading.remarks:
        ledger.add(remark)
    for content, position in reading.streams():
        look(content, f"{reading.place}, byte {position}".lstrip(", "))
    for start, stop in reading.machine.skipped:
        probe(data, reading.place, ledger, look, start)  # what reads this file without joblib goes on here
        search(data, start, stop, reading.place, ledger)


def _trailing(data: Data, position: int, place: str, ledger: Ledger) -> None:
    if _NOT_BLANK.search(data, position) is None:
        return
    message = f"{len(data) - position} bytes follow the end of the pickle, and no loader needs them."
    where = f"{place}, byte {position}".lstrip(", ")
    ledger.note(HIDDEN, Severity.MEDIUM, message, where, Confidence.MEDIUM)
    search(data, position, len(data), place, ledger)


def _check_numbers(data: Data, position: int, readings: list[Reading], place: str, ledger: Ledger) -> int:
    """torch's old format ends in its storages: each a count of numbers, and the numbers."""
    keys, held = readings[-1].value, storages(readings)
    named = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
    if keys != named or sorted(named) != sorted(held):
        message = "The list of storages is not the list of those that are in use."
        ledger.note(CONTRADICTS, Severity.MEDIUM, message, f"{place}, byte {position}".lstrip(", "))
    for key in named:
        stored, count = held.get(key), int.from_bytes(data[position : position + 8], "little", signed=True)
        if stored is None or count != stored.elements or position + 8 + size(stored) > len(data):
            message = f"Storage {shown(key)} is cut short or of another size."
            ledger.note(CONTRADICTS, Severity.MEDIUM, message, f"{place}, byte {position}".lstrip(", "))
            search(data, position, len(data), place, ledger)
            return len(data)
        position += 8 + size(stored)
    return position
