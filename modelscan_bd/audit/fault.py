"""What is wrong with a file, for both who ask: an audit tells all of it, a loader refuses at the first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from modelscan_bd.audit.remark import Remark
from modelscan_bd.errors import BdscanError
from modelscan_bd.grades import Confidence, Severity


@final
@dataclass(frozen=True, kw_only=True)
class Fault:
    """A refusal, and how grave it is that the file asks for it. `place` is inside the file."""

    rule: str
    severity: Severity
    error: BdscanError
    place: str = ""
    confidence: Confidence = Confidence.HIGH

    @property
    def remark(self) -> Remark:
        return Remark(
            rule=self.rule,
            severity=self.severity,
            confidence=self.confidence,
            message=f"{self.error.what.rstrip('.')}.",
            place=self.place,
        )


def refuse(faults: Iterable[Fault]) -> None:
    """Raises the error of the first fault, if there is one."""
    for fault in faults:
        raise fault.error
