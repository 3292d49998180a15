"""Runs a pickle on inert values.

Where a pickle breaks the rules of its machine, the machine says so and goes on with an unclear value: what stops one
unpickler may not stop another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.opcodes import opcodes
from modelscan_bd.audit.stack import Judge, Stack
from modelscan_bd.audit.steps import STEPS, push
from modelscan_bd.audit.values import Value

_ACCOUNT_EVERY: Final = 4096  # opcodes


@final
@dataclass(eq=False)
class Machine:
    """One pickle."""

    judge: Judge
    ledger: Ledger
    skip: int | None = None  # bytes that the loader itself takes from the stream after this opcode (joblib)
    padded: bool = False  # whether they are preceded by a byte that counts further ones
    skipped: list[tuple[int, int]] = field(default_factory=list)
    stack: Stack = field(init=False)

    def __post_init__(self) -> None:
        self.stack = Stack(self.judge, self.ledger)

    @property
    def position(self) -> int:
        return self.stack.position

    def run(self, data: Data, start: int) -> tuple[Value, int]:
        """The value and the position after STOP. Raises Broken, Exhausted."""
        stack, count, position, following = self.stack, 0, start, start
        stack.size = len(data)
        try:
            while True:
                for name, arg, position in opcodes(data, following):
                    count += 1
                    if count % _ACCOUNT_EVERY == 0:
                        self.ledger.step(_ACCOUNT_EVERY)
                    stack.position = position
                    if position >= stack.frame > 0:
                        self._check_frame(position)
                    if name == "STOP":
                        return stack.pop(), position + 1
                    STEPS.get(name, push)(stack, arg)
                    if self.skip is not None:
                        break
                following = self._skip(data, position + 1)
        finally:
            self.ledger.step(count % _ACCOUNT_EVERY)  # however it ends: a file may hold many that break off

    def _skip(self, data: Data, start: int) -> int:
        padding = 1 + data[start] if self.padded and start < len(data) else 0
        stop = min(start + padding + (self.skip or 0), len(data))
        self.skipped.append((start, stop))
        self.skip = None
        return stop

    def _check_frame(self, position: int) -> None:
        if position > self.stack.frame:
            self.judge.fault("an opcode reaches over the end of its frame, where unpicklers differ", position)
        self.stack.frame = 0
