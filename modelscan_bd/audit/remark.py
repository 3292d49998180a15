"""What an audit says of a file, and how much work a file may cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from modelscan_bd.grades import Confidence, Severity


@final
@dataclass(frozen=True, kw_only=True)
class Remark:
    """What an audit saw in a file. Nothing in the file is believed; `rule` is the id of a file in `rules/`."""

    rule: str
    severity: Severity
    confidence: Confidence
    message: str  # one sentence: what, where
    place: str  # inside the file: 'archive/data.pkl, byte 123', 'node Conv_3', ''


@final
@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one file may cost, all of its parts together. What exceeds it is remarked upon, never passed over."""

    file: int = 2**32  # bytes of the file itself
    bytes: int = 2**28  # inflated, over all members; files of which this is less than the `growth`-fold may have that
    growth: int = 20
    held: int = 2**27  # inflated and kept in memory at once
    opcodes: int = 2_000_000  # of pickles
    memo: int = 1_000_000  # entries that a pickle may remember
    members: int = 20_000  # of archives
    nesting: int = 4  # archives in archives, graphs in graphs
    seconds: float = 15.0
    remarks: int = 20  # told of each rule and severity; the rest is counted
