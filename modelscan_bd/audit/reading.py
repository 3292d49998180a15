"""What one pickle asks for, judged by the list of names. The default is to remark."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, final

from modelscan_bd.audit import names
from modelscan_bd.audit.ledger import Ledger
from modelscan_bd.audit.machine import Machine
from modelscan_bd.audit.measures import full_name, holds_items, is_count, itemsize, width
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.opcodes import UNCLEAR, Broken, Unclear
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.tell import call_text, shown, text
from modelscan_bd.audit.values import Call, Items, Name, Stored, Value
from modelscan_bd.grades import Confidence, Severity

RUNS_CODE, UNKNOWN_NAME, UNREADABLE, OVERRIDES, CONTRADICTS = "BD901", "BD902", "BD903", "BD909", "BD910"
_SPARE: Final = 2**24  # elements that views may show beyond what is stored
_ENCODINGS = frozenset({"latin1", "latin-1", "utf-8", "utf8", "ascii"})
_TENSORS = frozenset(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_ARRAYS = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"})


@final
@dataclass(eq=False)
class Use:
    """What a pickle does with one name, in words; None: nothing."""

    grade: Grade
    position: int
    called: str | None = None
    constructed: bool = False


@final
@dataclass(eq=False)
class Reading:
    """The judge of one pickle stream at `place`. `remarks` collects; `finish` adds what only the whole can tell."""

    place: str
    ledger: Ledger
    doubtful: bool = False  # whether this may be no pickle at all: it then ends where every unpickler would
    remarks: dict[Remark, None] = field(default_factory=dict)
    told: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    uses: dict[str, Use] = field(default_factory=dict)
    storages: dict[str, Stored] = field(default_factory=dict)
    states: list[tuple[Call, Items, int]] = field(default_factory=list)  # of network classes
    streams: list[tuple[bytes, int]] = field(default_factory=list)  # torch files inside the pickle
    faulty: bool = False
    ended: bool = False
    value: Value = UNCLEAR
    spare: int = _SPARE
    machine: Machine = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Machine(self, self.ledger)

    def read(self, data: bytes, start: int) -> int:
        """Reads one pickle and gives the position after it, or where it broke off."""
        try:
            self.value, position = self.machine.run(data, start)
            self.ended = True
        except Broken as error:
            if not self.faulty:
                self.fault(str(error), self.machine.position)
            position = len(data) if error.cut else self.machine.position + 1
        finally:
            self._finish()
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
        named = any(use.called or use.grade is not Grade.UNKNOWN for use in self.uses.values())
        return named or (self.ended and not self.faulty)

    # ------------------------------------------------------------ what the machine asks

    def named(self, module: Value, name: Value, position: int) -> Value:
        if not (isinstance(module, str) and isinstance(name, str)):
            self.note(RUNS_CODE, Severity.HIGH, "computes the name of what it imports", position)
            return UNCLEAR
        raw, full = f"{module}.{name}", ".".join(names.modern(module, name))
        grade = Grade.CODE if Grade.CODE in (names.grade(raw), names.grade(full)) else names.grade(full)
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            grade = Grade.CODE if names.reaches(full) else Grade.UNKNOWN
            what = f"imports {shown(full)}, which reaches through one object into another"
            self.note(RUNS_CODE, Severity.HIGH, what, position)
        self.uses.setdefault(full, Use(grade, position))
        return Name(module, name, full)

    def called(self, function: Value, args: Value, position: int) -> Value:
        if isinstance(function, Name):
            self._check_call(function, args, position)
        elif isinstance(function, (Call, Unclear)):
            self.note(RUNS_CODE, Severity.HIGH, f"calls {text(function)}, which it has computed", position)
        else:
            self.fault(f"it calls {text(function)}, which is no function", position)
        if isinstance(function, Name) and self._grade(function) is Grade.CLASS and isinstance(args, tuple) and args:
            own = args[1:] if "newobj" in function.name else ()
            return self.constructed(args[0], own, position)
        return Call(function, args, new=False)

    def constructed(self, cls: Value, args: Value, position: int) -> Value:
        if not isinstance(cls, Name):
            self.note(RUNS_CODE, Severity.HIGH, f"constructs {text(cls)}, which it has computed", position)
            return Call(cls, args, new=True)
        grade = self._grade(cls)
        self.uses[cls.full].constructed = True
        if grade in (Grade.LAYER, Grade.NAME) and args != ():
            self._strange(cls, args, position)
        elif grade in (Grade.REBUILD, Grade.STREAM, Grade.CLASS, Grade.PARTIAL, Grade.BYTES):
            self._check_call(cls, args, position)
        return Call(cls, args, new=True)

    def built(self, target: Value, state: Value, position: int) -> None:
        if isinstance(target, Name):
            self.note(RUNS_CODE, Severity.CRITICAL, f"changes {shown(target.full)} itself", position)
        elif not isinstance(target, Call) or not isinstance(target.function, Name):
            self.fault(f"it sets the state of {text(target)}", position)
        else:
            self._check_state(target, target.function, state, position)

    def filled(self, target: Value, pairs: list[tuple[Value, Value]], position: int) -> None:
        grade = self._grade(target.function) if isinstance(target, Call) else None
        if isinstance(target, Name):
            self.note(RUNS_CODE, Severity.CRITICAL, f"puts items into {shown(target.full)} itself", position)
        elif isinstance(target, Stored) or (isinstance(target, Call) and full_name(target.function) in _TENSORS):
            self.note(CONTRADICTS, Severity.HIGH, "writes into the memory of a tensor while it is loaded", position)
        elif isinstance(target, Call) and grade not in (Grade.LAYER, Grade.NAME):
            target.items.pairs.extend(pairs)
        else:
            self.fault(f"it puts items into {text(target)}", position)

    def persistent(self, key: Value, position: int) -> Value:
        """A storage's id: ('storage', class, key, location, number of elements[, view])."""
        if isinstance(key, tuple) and len(key) == 4 and key[0] == "module" and isinstance(key[1], Name):
            return key[1]  # PyTorch's old format, with the class's source text
        if not (isinstance(key, tuple) and len(key) in (5, 6) and key[0] == "storage"):
            self.fault("it refers to a storage in a way torch never does", position, fatal=isinstance(key, str))
            return UNCLEAR
        _, cls, label, _, elements = key[:5]
        if not (isinstance(cls, Name) and isinstance(label, str) and is_count(elements)):
            self.note(CONTRADICTS, Severity.MEDIUM, f"gives a storage the size {text(elements)}", position)
            return UNCLEAR
        stored = Stored(label, cls.name, elements)
        earlier = self.storages.setdefault(label, stored)
        if (earlier.elements * width(earlier)) != (elements * width(stored)):
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

    # ------------------------------------------------------------ what is asked of a name

    def _grade(self, name: Value) -> Grade:
        return self.uses[name.full].grade if isinstance(name, Name) else Grade.UNKNOWN

    def _strange(self, name: Name, args: Value, position: int) -> None:
        what = f"calls {call_text(name, args)}, which no model writer does"
        self.note(RUNS_CODE, Severity.HIGH, what, position)

    def _check_call(self, function: Name, args: Value, position: int) -> None:
        grade, use = self._grade(function), self.uses[function.full]
        use.called = use.called or call_text(function, args)
        if not isinstance(args, tuple):
            fine = isinstance(args, Unclear)  # that fault is told
            if not fine:
                self.fault("it calls with something that is no tuple", position)
        elif grade is Grade.CALL:
            self._check_known(function, args, position)
        elif grade is Grade.SPARSE:
            what = "holds sparse tensors, whose indices PyTorch does not check"
            self.note(CONTRADICTS, Severity.LOW, what, position)
        elif grade is Grade.STREAM and len(args) == 1 and isinstance(args[0], (bytes, bytearray)):
            self.streams.append((bytes(args[0]), position))
        elif not self._usual(grade, args):
            self._strange(function, args, position)

    def _usual(self, grade: Grade, args: tuple[Value, ...]) -> bool:
        first = args[0] if args else None
        if grade is Grade.NAME:
            return args == ()
        if grade is Grade.BYTES:
            return all(map(self._is_text, args)) and set(args[1:]) <= _ENCODINGS
        if grade is Grade.REBUILD:
            return self._grade(first) in (Grade.CALL, Grade.SPARSE)
        if grade is Grade.PARTIAL:
            return self._grade(first) in (Grade.LAYER, Grade.NAME) and len(args) == 1
        if grade is Grade.CLASS:
            return isinstance(first, Name)
        if grade is Grade.PLAIN:
            return not any(map(self._acts, args))
        return grade in (Grade.CODE, Grade.UNKNOWN)  # told as what they are

    def _is_text(self, value: Value) -> bool:
        encoded = isinstance(value, Call) and self._grade(value.function) is Grade.BYTES
        return encoded or isinstance(value, (str, bytes))

    def _check_known(self, function: Name, args: tuple[Value, ...], position: int) -> None:
        if function.full in _TENSORS:
            self._check_tensor(args, position)
        elif function.full.startswith("torch._utils._rebuild_parameter") and len(args) > 2:
            self._check_hooks(args[2], position)
        elif function.full in _ARRAYS and args[1:2] != ((0,),):
            self._strange(function, args, position)

    def _check_tensor(self, args: tuple[Value, ...], position: int) -> None:
        """(storage, offset, size, stride[, requires_grad, hooks[, metadata]]): a view that lies inside its storage."""
        stored, offset, size, stride = (*args, None, None, None, None)[:4]
        if isinstance(stored, Call) and self._grade(stored.function) is Grade.STREAM:
            return  # a storage that is a torch file of its own
        dims = [*size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else [None]
        if not (
            isinstance(stored, Stored) and is_count(offset) and all(map(is_count, dims)) and len(size) == len(stride)
        ):
            self.note(CONTRADICTS, Severity.MEDIUM, "rebuilds a tensor from something that is no storage", position)
            return
        elements = math.prod(size[:64])
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        self.spare -= max(0, elements - stored.elements)
        if elements and last >= stored.elements:
            what = f"holds a tensor of {text(elements)} numbers that reaches beyond its storage of {stored.elements}"
            self.note(CONTRADICTS, Severity.MEDIUM, what, position)
        elif self.spare < 0:
            what = f"repeats a storage of {stored.elements} numbers to a tensor of {text(elements)}"
            self.note(CONTRADICTS, Severity.MEDIUM, what, position)
        if len(args) > 5:
            self._check_hooks(args[5], position)

    def _check_hooks(self, hooks: Value, position: int) -> None:
        if hooks is not None and not (isinstance(hooks, Call) and not hooks.items.pairs and hooks.args in ((), ([],))):
            self.note(OVERRIDES, Severity.HIGH, "gives a tensor hooks, which run during training", position)

    def _check_state(self, target: Call, name: Name, state: Value, position: int) -> None:
        grade = self._grade(name)
        if grade is Grade.PARTIAL:
            fine = isinstance(state, tuple) and len(state) == 4 and state[1] == () and isinstance(state[2], Items)
            if not (fine and self._usual(grade, (state[0],))) or self._callables(state[2]):
                self._strange(name, state if isinstance(state, tuple) else (state,), position)
        elif grade is Grade.ARRAY:
            self._skip_array(state, position)
        elif isinstance(state, Items):
            self.states.append((target, state, position))
        elif grade is Grade.LAYER:
            self.note(OVERRIDES, Severity.HIGH, f"gives {name.full} a state that is no dictionary", position)
        elif isinstance(state, tuple) and any(isinstance(part, Items) and self._callables(part) for part in state):
            self.note(OVERRIDES, Severity.HIGH, f"gives {shown(name.full)} functions of its own", position)

    def _callables(self, items: Items) -> bool:
        return any(self._acts(value) for _, value in items.pairs)

    def _acts(self, value: Value) -> bool:
        """Whether a value could be called."""
        if isinstance(value, Call):
            return self._grade(value.function) not in (Grade.CALL, Grade.BYTES, Grade.PLAIN, Grade.SPARSE, Grade.STREAM)
        return isinstance(value, Name) and self._grade(value) is not Grade.NAME

    def _skip_array(self, state: Value, position: int) -> None:
        """joblib's arrays: an optional byte of padding and the padding, then the numbers, inside the stream."""
        fields = dict(pair for pair in state.pairs if isinstance(pair[0], str)) if isinstance(state, Items) else {}
        dtype, shape = fields.get("dtype"), fields.get("shape")
        kind = dtype.args[0] if isinstance(dtype, Call) and isinstance(dtype.args, tuple) and dtype.args else None
        size = itemsize(kind)
        if size is None or not isinstance(shape, tuple):
            self.note(UNREADABLE, Severity.MEDIUM, "holds a joblib array of objects, a pickle of its own", position)
            return
        if all(map(is_count, shape)):
            self.machine.skip = size * math.prod(shape[:64])
            self.machine.padded = "numpy_array_alignment_bytes" in fields

    # ------------------------------------------------------------ the whole

    def _finish(self) -> None:
        for target, state, position in self.states:
            self._check_attributes(target.function, state, position)
        for full, use in self.uses.items():
            self._tell_use(shown(full), use)
        plain = [shown(full) for full, use in self.uses.items() if use.grade is Grade.PLAIN]
        if plain:
            what = f"holds ordinary Python objects besides weights: {', '.join(plain[:5])}"
            self.note(UNKNOWN_NAME, Severity.INFO, what, min(u.position for u in self.uses.values()))

    def _check_attributes(self, name: Name, state: Items, position: int) -> None:
        """Hooks and attributes that act: they run when the model does, though no layer of it has them."""
        for key, value in state.pairs:
            label = key if isinstance(key, str) else text(key)
            hooked = "_hooks" in label and isinstance(value, (Call, Items, list)) and holds_items(value)
            replaced = label.startswith(_METHODS) and isinstance(value, (Name, Call))
            acts = self._acts(value) and label not in _CONTAINERS and not self._innocent(name, value)
            if hooked or replaced or acts:
                what = f"gives {shown(name.full)} {'hooks' if hooked else 'something to run'} as {shown(label)}"
                self.note(OVERRIDES, Severity.HIGH, what, position)

    def _innocent(self, owner: Name, value: Value) -> bool:
        """Classes and bound classes that a network keeps for building its layers; plain objects may hold anything."""
        if self._grade(owner) is not Grade.LAYER:
            return self._grade(owner) in (Grade.PLAIN, Grade.UNKNOWN, Grade.CODE)
        bound = isinstance(value, Call) and self._grade(value.function) is Grade.PARTIAL
        return bound or (isinstance(value, Name) and self._grade(value) is Grade.LAYER)

    def _tell_use(self, full: str, use: Use) -> None:
        if use.grade is Grade.CODE:
            what = f"calls {use.called}" if use.called else f"{'constructs' if use.constructed else 'imports'} {full}"
            used = use.called or use.constructed
            self.note(
                RUNS_CODE,
                Severity.CRITICAL if used else Severity.HIGH,
                f"{what}, which runs code or reaches out of the file",
                use.position,
            )
        elif use.grade is Grade.UNKNOWN:
            only = use.constructed and not use.called
            what = f"calls {use.called}" if use.called else f"{'constructs' if only else 'imports'} {full}"
            severity = Severity.MEDIUM if only else Severity.HIGH
            self.note(UNKNOWN_NAME, severity, f"{what}, which bdscan does not know", use.position, "medium")


_METHODS = ("forward", "__", "_call", "_wrapped_call", "_slow_forward", "_compiled_call")
_CONTAINERS = frozenset({"_modules", "_parameters", "_buffers"})
