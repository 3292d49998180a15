"""One file that once got past a scanner, and what has to be said of it today."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from audit.onnx_corpus import Sample

from modelscan_bd.grades import Severity

CALLED, UNKNOWN, READ_TWICE, HIDDEN = "BD901", "BD902", "BD904", "BD905"
LEAVES, PACKED, CONTRADICTS = "BD907", "BD908", "BD910"
OUTSIDE, CLAIMS, OPERATOR, ENDLESS = "BD920", "BD921", "BD922", "BD923"


@final
@dataclass(frozen=True, kw_only=True)
class Bypass:
    """A file, the rule that must find it, and how grave that remark must be at least.

    `hostile`: it runs nothing, and hurts who reads it.
    """

    sample: Sample
    rule: str = CALLED
    severity: Severity = Severity.CRITICAL
    hostile: bool = False


def named(name: str, data: bytes) -> Sample:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return write
