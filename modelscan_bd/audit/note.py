"""How a judge of a pickle says what it sees."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from modelscan_bd.grades import Severity


@runtime_checkable
class Note(Protocol):
    """A remark upon the pickle at a byte; `what` follows the words 'The pickle'."""

    def __call__(self, rule: str, severity: Severity, what: str, position: int, confidence: str = "high") -> None: ...
