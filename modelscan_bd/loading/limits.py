"""What one file may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from modelscan_bd.audit.remark import Budget

_GIB = 2**30


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Budgets for one untrusted file. `memory` is what the rehearsal may take on top of its libraries."""

    bytes: int = 4 * _GIB  # of the file itself, and of all external data
    memory: int = 8 * _GIB  # bytes
    seconds: float = 180.0
    pickle_bytes: int = 64 * 2**20  # of one pickle, inflated; weights lie outside it
    opcodes: int = 4_000_000
    members: int = 50_000  # of an archive
    rehearsed: bool = True  # loaded in a limited process first; false where this one is limited itself

    def budget(self) -> Budget:
        """The same for the audit that comes before loading."""
        return Budget(
            file=self.bytes, held=self.pickle_bytes, opcodes=self.opcodes, members=self.members, seconds=self.seconds
        )
