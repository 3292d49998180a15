"""The pickle machine's stack and memo, on inert values. Nothing is imported or called; a `Judge` answers instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol, final, runtime_checkable

from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.opcodes import UNCLEAR
from modelscan_bd.audit.values import Value


@runtime_checkable
class Judge(Protocol):
    """Hears what a pickle asks for, and answers with the value that stands for it."""

    def named(self, module: Value, name: Value, position: int) -> Value: ...
    def called(self, function: Value, args: Value, position: int) -> Value: ...
    def constructed(self, cls: Value, args: Value, position: int) -> Value: ...
    def built(self, target: Value, state: Value, position: int) -> None: ...
    def filled(self, target: Value, pairs: list[tuple[Value, Value]], position: int) -> None: ...
    def persistent(self, key: Value, position: int) -> Value: ...
    def extension(self, code: Value, position: int) -> Value: ...
    def fault(self, why: str, position: int, *, fatal: bool = False) -> None: ...


@final
class _Mark:
    """The bottom of a group of values."""


MARK: Final = _Mark()


@final
@dataclass(eq=False)
class Stack:
    """One pickle's. Where the pickle takes what is not there, that is a fault, and it gets an unclear value."""

    judge: Judge
    ledger: Ledger
    values: list[Value] = field(default_factory=list)
    memo: dict[int, Value] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)  # where among the values
    position: int = 0  # of the present opcode
    size: int = 0  # of all bytes
    protocol: int | None = None  # as the pickle says
    frame: int = 0  # where the present frame ends

    def fault(self, why: str) -> None:
        self.judge.fault(why, self.position, fatal=True)

    def pop(self) -> Value:
        if not self.values or self.values[-1] is MARK:
            self.fault("it takes from an empty stack")
            return UNCLEAR
        return self.values.pop()

    def pop_mark(self) -> list[Value]:
        if not self.marks:
            self.fault("a mark is missing from its stack")
            return []
        index = self.marks.pop()
        values = self.values[index + 1 :]
        del self.values[index:]
        return values

    def top(self) -> Value:
        if not self.values or self.values[-1] is MARK:
            self.fault("it looks at an empty stack")
            return UNCLEAR
        return self.values[-1]
