"""Reads one pickle: what it imports, calls and builds. What that is worth, `conduct` says once all of it is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, final

from modelscan_bd.audit import conduct, names
from modelscan_bd.audit.data import Data
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.machine import Machine
from modelscan_bd.audit.measures import array_size, is_count, is_storage_kind, size
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.opcodes import UNCLEAR, Broken, Unclear
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.rules import CONTRADICTS, RUNS_CODE, UNREADABLE
from modelscan_bd.audit.tell import shown, text
from modelscan_bd.audit.values import Call, Name, Stored, Value
from modelscan_bd.grades import Confidence, Severity

_LONGEST: Final = 2 * names.LONGEST  # characters of a module's or a thing's name that are looked at


@final
@dataclass(eq=False)
class Reading:
    """The judge of one pickle stream at `place`, and what it has heard."""

    place: str
    ledger: Ledger
    doubtful: bool = False  # whether this may be no pickle at all: it then ends where every unpickler would
    remarks: dict[Remark, None] = field(default_factory=dict)
    told: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    names: dict[str, Name] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    storages: dict[str, Stored] = field(default_factory=dict)
    sourced: list[Name] = field(default_factory=list)  # classes that bring their source text, as torch 0.4 wrote them
    faulty: bool = False
    ended: bool = False
    value: Value = UNCLEAR
    machine: Machine = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Machine(self, self.ledger)

    def read(self, data: Data, start: int) -> int:
        """Reads one pickle and gives the position after it, or where it broke off."""
        try:
            self.value, position = self.machine.run(data, start)
            self.ended = True
        except Broken as error:
            if not self.faulty:
                self.fault(str(error), self.machine.position)
            position = len(data) if error.cut else self.machine.position + 1
        finally:
            conduct.judge(self.names, self.calls, self.note)
        return position

    def note(self, rule: str, severity: Severity, what: str, position: int, confidence: str = "high") -> None:
        self.told[rule, severity] += 1
        if self.told[rule, severity] > 2 * self.ledger.budget.remarks:
            return
        place = f"{self.place}, byte {position}" if self.place else f"byte {position}"
        remark = Remark(
            rule=rule, severity=severity, confidence=Confidence(confidence), message=f"The pickle {what}.", place=place
        )
        self.remarks[remark] = None

    @property
    def telling(self) -> bool:
        """Whether the bytes were a pickle beyond doubt, however they were found."""
        known = any(name.grade is not Grade.UNKNOWN for name in self.names.values())
        called = any(isinstance(call.function, Name) and not call.new for call in self.calls)
        return known or called or (self.ended and not self.faulty)

    @property
    def protocol(self) -> int | None:
        return self.machine.stack.protocol

    def streams(self) -> list[tuple[bytes, int]]:
        """torch files inside the pickle."""
        return [
            (bytes(call.args[0]), call.position)
            for call in self.calls
            if isinstance(call.function, Name) and call.function.grade is Grade.STREAM and conduct.holds_stream(call)
        ]

    # ------------------------------------------------------------ what the machine asks

    def named(self, module: Value, name: Value, position: int) -> Value:
        if not (isinstance(module, str) and isinstance(name, str)):
            self.note(RUNS_CODE, Severity.HIGH, "computes the name of what it imports", position)
            return UNCLEAR
        module, name = module[:_LONGEST], name[:_LONGEST]  # a pickle may join one long text to many short ones
        raw, full = f"{module}.{name}", ".".join(names.modern(module, name))
        grade = Grade.CODE if Grade.CODE in (names.grade(raw), names.grade(full)) else names.grade(full)
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            grade = Grade.CODE if names.reaches(full) else Grade.UNKNOWN
            what = f"imports {shown(full)}, which reaches through one object into another"
            self.note(RUNS_CODE, Severity.HIGH, what, position)
        return self.names.setdefault(full, Name(name, full, grade, position))

    def called(self, function: Value, args: Value, position: int) -> Value:
        if isinstance(function, (Call, Unclear)):
            self.note(RUNS_CODE, Severity.HIGH, f"calls {text(function)}, which it has computed", position)
        elif not isinstance(function, Name):
            self.fault(f"it calls {text(function)}, which is no function", position)
        elif not isinstance(args, (tuple, Unclear)):
            self.fault("it calls with something that is no tuple", position)
        call = self._kept(Call(function, args, new=False, position=position))
        if isinstance(function, Name) and function.grade is Grade.CLASS and isinstance(args, tuple) and args:
            own = args[1:] if "newobj" in function.name else ()
            return self.constructed(args[0], own, position)
        return call

    def constructed(self, cls: Value, args: Value, position: int) -> Value:
        if not isinstance(cls, Name):
            self.note(RUNS_CODE, Severity.HIGH, f"constructs {text(cls)}, which it has computed", position)
        return self._kept(Call(cls, args, new=True, position=position))

    def _kept(self, call: Call) -> Call:
        self.calls.append(call)
        return call

    def built(self, target: Value, state: Value, position: int) -> None:
        if isinstance(target, Name):
            self.note(RUNS_CODE, Severity.CRITICAL, f"changes {shown(target.full)} itself", position)
        elif not isinstance(target, Call) or not isinstance(target.function, Name):
            self.fault(f"it sets the state of {text(target)}", position)
        else:
            target.states.append((state, position))
            if target.function.grade is Grade.ARRAY:
                self._skip_array(state, position)

    def _skip_array(self, state: Value, position: int) -> None:
        following = array_size(state)
        if following is None:
            self.note(UNREADABLE, Severity.MEDIUM, "holds a joblib array of objects, a pickle of its own", position)
        else:
            self.machine.skip, self.machine.padded = following

    def filled(self, target: Value, pairs: list[tuple[Value, Value]], position: int) -> None:
        if isinstance(target, Name):
            self.note(RUNS_CODE, Severity.CRITICAL, f"puts items into {shown(target.full)} itself", position)
        elif isinstance(target, Stored) or (isinstance(target, Call) and conduct.is_memory(target.function)):
            self.note(CONTRADICTS, Severity.HIGH, "writes into the memory of a tensor while it is loaded", position)
        elif isinstance(target, Call) and conduct.takes_items(target.function):
            target.items.pairs.extend(pairs)
        else:
            self.fault(f"it puts items into {text(target)}", position)

    def persistent(self, key: Value, position: int) -> Value:
        """A storage's id: ('storage', class, key, location, number of elements[, view])."""
        if isinstance(key, tuple) and len(key) == 4 and key[0] == "module" and isinstance(key[1], Name):
            self.sourced.append(key[1])
            return key[1]
        if not (isinstance(key, tuple) and len(key) in (5, 6) and key[0] == "storage"):
            self.fault("it refers to a storage in a way torch never does", position, fatal=not isinstance(key, tuple))
            return UNCLEAR
        _, kind, label, location, elements = key[:5]
        texts = isinstance(label, str) and isinstance(location, str)
        if not (is_storage_kind(kind) and texts and is_count(elements)):
            what = f"describes a storage as {text(elements)} numbers of {text(kind)}, which is none of torch's"
            self.note(CONTRADICTS, Severity.MEDIUM, what, position)
            return UNCLEAR
        stored = Stored(label, kind.name, elements, whole=key[5:] in ((), (None,)))
        if size(self.storages.setdefault(label, stored)) != size(stored):
            self.note(CONTRADICTS, Severity.MEDIUM, f"gives the storage {shown(label)} two sizes", position)
        return stored

    def extension(self, code: Value, position: int) -> Value:
        what = f"imports entry {code} of the interpreter's extension registry, whatever that is"
        self.note(RUNS_CODE, Severity.HIGH, what, position)
        return UNCLEAR

    def fault(self, why: str, position: int, *, fatal: bool = False) -> None:
        """`fatal` is what every unpickler stops at."""
        if not self.faulty:
            self.note(UNREADABLE, Severity.MEDIUM, f"cannot be read as it stands: {why}", position)
        self.faulty = True
        if fatal and self.doubtful:
            raise Broken(why)
