"""What a pickle does with what it imports, judged by the list of names. The default is to remark.

Judged once all of the pickle has been read: what a call is given may be changed after the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from modelscan_bd.audit import states, tensors
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.note import Note
from modelscan_bd.audit.rules import CONTRADICTS, RUNS_CODE, UNKNOWN_NAME
from modelscan_bd.audit.states import acts
from modelscan_bd.audit.tell import call_text, shown
from modelscan_bd.audit.values import Call, Name, Value
from modelscan_bd.grades import Severity

_ENCODINGS: Final = frozenset({"latin1", "latin-1", "utf-8", "utf8", "ascii"})
_ARRAYS: Final = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"})


def judge(names: Mapping[str, Name], calls: Iterable[Call], note: Note) -> None:
    """Notes upon each name, and upon each call and what followed it."""
    conduct = _Conduct(note)
    for call in calls:
        if isinstance(call.function, Name):  # all else has been told as soon as it was called
            conduct.judge(call, call.function)
    for name in names.values():
        conduct.tell_use(name)
    plain = [shown(name.full) for name in names.values() if name.grade is Grade.PLAIN]
    if plain:
        what = f"holds ordinary Python objects besides weights: {', '.join(plain[:5])}"
        note(UNKNOWN_NAME, Severity.INFO, what, min(name.position for name in names.values()))


def holds_stream(call: Call) -> bool:
    return isinstance(call.args, tuple) and len(call.args) == 1 and isinstance(call.args[0], (bytes, bytearray))


def is_memory(function: Value) -> bool:
    """Whether a call gives a tensor or an array, whose items are the numbers themselves."""
    made = isinstance(function, Name) and function.grade in (Grade.CALL, Grade.SPARSE, Grade.REBUILD, Grade.STREAM)
    return made and function.full.startswith(("torch.", "numpy."))


def takes_items(function: Value) -> bool:
    return not (isinstance(function, Name) and function.grade in (Grade.LAYER, Grade.NAME))


@final
@dataclass(eq=False)
class _Conduct:
    note: Note
    called: dict[str, Call] = field(default_factory=dict)  # the first of each name
    constructed: set[str] = field(default_factory=set)
    views: tensors.Views = field(default_factory=tensors.Views)

    def judge(self, call: Call, name: Name) -> None:
        if call.new:
            self.constructed.add(name.full)
            if name.grade in (Grade.LAYER, Grade.NAME) and call.args != ():
                self._strange(call, name)
        if not call.new or name.grade in (Grade.REBUILD, Grade.STREAM, Grade.CLASS, Grade.PARTIAL, Grade.BYTES):
            self._judge_call(call, name)
        for state, position in call.states:
            states.judge(name, state, position, self.note)

    def _judge_call(self, call: Call, name: Name) -> None:
        self.called.setdefault(name.full, call)
        if not isinstance(call.args, tuple):
            return  # which has been told
        if name.grade is Grade.CALL:
            self._judge_known(call, name, call.args)
        elif name.grade is Grade.SPARSE:
            what = "holds sparse tensors, whose indices PyTorch does not check"
            self.note(CONTRADICTS, Severity.LOW, what, call.position)
        elif not _is_usual(name.grade, call):
            self._strange(call, name)

    def _judge_known(self, call: Call, name: Name, args: tuple[Value, ...]) -> None:
        if name.full in tensors.VIEWS:
            self.views.judge(name.full, args, call.position, self.note)
        elif name.full.startswith("torch._utils._rebuild_parameter") and len(args) > 2:
            tensors.judge_hooks(args[2], call.position, self.note)
        elif name.full in _ARRAYS and args[1:2] != ((0,),):
            self._strange(call, name)

    def _strange(self, call: Call, name: Name) -> None:
        what = f"calls {call_text(name, call.args)}, which no model writer does"
        self.note(RUNS_CODE, Severity.HIGH, what, call.position)

    def tell_use(self, name: Name) -> None:
        call, constructed = self.called.get(name.full), name.full in self.constructed
        if call is not None:
            what = f"calls {call_text(name, call.args)}"
        else:
            what = f"{'constructs' if constructed else 'imports'} {shown(name.full)}"
        if name.grade is Grade.CODE:
            severity = Severity.CRITICAL if call or constructed else Severity.HIGH
            self.note(RUNS_CODE, severity, f"{what}, which runs code or reaches out of the file", name.position)
        elif name.grade is Grade.UNKNOWN:
            severity = Severity.MEDIUM if constructed and not call else Severity.HIGH
            self.note(UNKNOWN_NAME, severity, f"{what}, which bdscan does not know", name.position, "medium")


def _is_usual(grade: Grade, call: Call) -> bool:
    args = call.args
    first = args[0].grade if args and isinstance(args[0], Name) else None
    if grade is Grade.NAME:
        return bool(args == ())
    if grade is Grade.BYTES:
        return all(map(_is_text, args)) and all(isinstance(arg, str) and arg in _ENCODINGS for arg in args[1:])
    if grade is Grade.REBUILD:
        return first in (Grade.CALL, Grade.SPARSE)
    if grade is Grade.STREAM:
        return holds_stream(call)
    if grade is Grade.PARTIAL:
        return first in (Grade.LAYER, Grade.NAME) and len(args) == 1
    if grade is Grade.CLASS:
        return first is not None
    if grade is Grade.PLAIN:
        return not any(map(acts, args))
    return grade in (Grade.CODE, Grade.UNKNOWN)  # told as what they are


def _is_text(value: Value) -> bool:
    encoded = isinstance(value, Call) and isinstance(value.function, Name) and value.function.grade is Grade.BYTES
    return encoded or isinstance(value, (str, bytes))
