"""Tensors that a pickle rebuilds: views of storages that are elsewhere in the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

from modelscan_bd.audit.measures import is_count
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.note import Note
from modelscan_bd.audit.rules import CONTRADICTS, OVERRIDES
from modelscan_bd.audit.tell import text
from modelscan_bd.audit.values import Call, Name, Stored, Value
from modelscan_bd.grades import Severity

REBUILT: Final = frozenset(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_QUANTISED: Final = "torch._utils._rebuild_qtensor"  # which has its scales where others have their hooks
VIEWS: Final = REBUILT | {_QUANTISED}
_SPARE: Final = 2**24  # elements that views may show beyond what is stored
_MOST_AXES: Final = 64  # as many as torch allows


@final
@dataclass(eq=False)
class Views:
    """All views of one pickle together."""

    spare: int = _SPARE

    def judge(self, function: str, args: tuple[Value, ...], position: int, note: Note) -> None:
        """(storage, offset, size, stride[, requires_grad, hooks[, metadata]]): a view that lies inside its storage."""
        stored, offset, size, stride = (*args, None, None, None, None)[:4]
        hooks = 6 if function == _QUANTISED else 5
        if len(args) > hooks:
            judge_hooks(args[hooks], position, note)
        if _is_stream(stored):
            return  # a storage that is a torch file of its own
        if not (isinstance(stored, Stored) and is_count(offset) and _are_counts(size) and _are_counts(stride)):
            note(CONTRADICTS, Severity.MEDIUM, "rebuilds a tensor from something that is no storage", position)
        elif len(size) != len(stride) or len(size) > _MOST_AXES:
            note(CONTRADICTS, Severity.MEDIUM, "rebuilds a tensor that has more strides than axes, or fewer", position)
        else:
            self._judge_reach(stored, offset, size, stride, position, note)

    def _judge_reach(
        self, stored: Stored, offset: int, size: tuple[int, ...], stride: tuple[int, ...], position: int, note: Note
    ) -> None:
        elements = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        self.spare -= max(0, elements - stored.elements)
        if elements and last >= stored.elements:
            what = f"holds a tensor of {text(elements)} numbers that reaches beyond its storage of {stored.elements}"
            note(CONTRADICTS, Severity.MEDIUM, what, position)
        elif self.spare < 0:
            what = f"repeats a storage of {stored.elements} numbers to a tensor of {text(elements)}"
            note(CONTRADICTS, Severity.MEDIUM, what, position)


def judge_hooks(hooks: Value, position: int, note: Note) -> None:
    if hooks is not None and not (isinstance(hooks, Call) and not hooks.items.pairs and hooks.args in ((), ([],))):
        note(OVERRIDES, Severity.HIGH, "gives a tensor hooks, which run during training", position)


def _are_counts(value: Value) -> bool:
    return isinstance(value, tuple) and all(map(is_count, value))


def _is_stream(value: Value) -> bool:
    return isinstance(value, Call) and isinstance(value.function, Name) and value.function.grade is Grade.STREAM
