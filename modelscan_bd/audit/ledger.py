"""Keeps the account of one audit: what was seen, and what it has cost so far."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import final

from modelscan_bd.audit.remark import Budget, Remark
from modelscan_bd.grades import Confidence, Severity


class Exhausted(Exception):
    """A budget is used up. What was seen until then counts; the rest was not looked at, and that is a remark too."""

    def __init__(self, what: str, severity: Severity) -> None:
        super().__init__(what)
        self.severity = severity


@final
@dataclass(eq=False)
class Ledger:
    """Remarks and costs of one file, all of its parts together."""

    budget: Budget
    size: int = 0  # bytes of the file
    began: float = field(default_factory=time.monotonic)
    remarks: dict[Remark, None] = field(default_factory=dict)
    told: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    inflated: int = 0
    opcodes: int = 0
    members: int = 0

    def add(self, remark: Remark) -> None:
        if remark not in self.remarks:
            key = (remark.rule, remark.severity)
            self.told[key] += 1
            if self.told[key] <= self.budget.remarks:
                self.remarks[remark] = None

    def note(
        self, rule: str, severity: Severity, message: str, place: str, confidence: Confidence = Confidence.HIGH
    ) -> None:
        self.add(Remark(rule=rule, severity=severity, confidence=confidence, message=message, place=place))

    def inflate(self, count: int) -> None:
        self.inflated += count
        allowed = max(self.budget.bytes, self.budget.growth * self.size)
        if self.inflated > allowed:
            raise Exhausted(f"its parts inflate to more than {allowed // 2**20} MiB", Severity.HIGH)

    def step(self, opcodes: int) -> None:
        self.opcodes += opcodes
        if self.opcodes > self.budget.opcodes:
            raise Exhausted(f"its pickles have more than {self.budget.opcodes:,} opcodes", Severity.HIGH)
        self.tick()

    def enter(self, members: int = 1) -> None:
        self.members += members
        if self.members > self.budget.members:
            raise Exhausted(f"its archives have more than {self.budget.members:,} members", Severity.HIGH)
        self.tick()

    def tick(self) -> None:
        if time.monotonic() - self.began > self.budget.seconds:
            raise Exhausted(f"reading it took more than {self.budget.seconds:g} seconds", Severity.MEDIUM)

    def close(self) -> tuple[Remark, ...]:
        """All remarks, the gravest first."""
        for (rule, severity), count in self.told.items():
            if count > self.budget.remarks:
                message = f"{count - self.budget.remarks} more remarks like these are left out."
                left_out = Remark(rule=rule, severity=severity, confidence=Confidence.HIGH, message=message, place="")
                self.remarks[left_out] = None
        order = list(Severity)
        return tuple(sorted(self.remarks, key=lambda remark: -order.index(remark.severity)))
