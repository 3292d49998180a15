"""Runs a pickle on inert values. Nothing is imported, called or trusted; a `Judge` hears of all that matters.

Where a pickle breaks the rules of its machine, the machine says so and goes on with an unclear value: what stops one
unpickler may not stop another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, final, runtime_checkable

from modelscan_bd.audit.ledger import Exhausted, Ledger
from modelscan_bd.audit.opcodes import UNCLEAR, Unclear, opcodes
from modelscan_bd.audit.values import Items, Value
from modelscan_bd.grades import Severity


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
    """The bottom of a group of values on the stack."""


_MARK: Final = _Mark()
_ACCOUNT_EVERY = 4096  # opcodes


@final
@dataclass(eq=False)
class Machine:
    """One pickle. The fields are the pickle machine's own: a stack and a memo."""

    judge: Judge
    ledger: Ledger
    stack: list[Value] = field(default_factory=list)
    memo: dict[int, Value] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)  # where on the stack
    position: int = 0
    skip: int | None = None  # bytes that the loader itself takes from the stream after this opcode (joblib)
    padded: bool = False  # whether they are preceded by a byte that counts further ones
    skipped: list[tuple[int, int]] = field(default_factory=list)
    frame: int = 0  # where the present frame ends

    def run(self, data: bytes, start: int) -> tuple[Value, int]:
        """The value and the position after STOP. Raises Broken, Exhausted."""
        count, position, following = 0, start, start
        while True:
            for name, arg, position in opcodes(data, following):
                count += 1
                if count % _ACCOUNT_EVERY == 0:
                    self.ledger.step(_ACCOUNT_EVERY)
                self.position = position
                if position >= self.frame > 0:
                    self._check_frame(position)
                if name == "STOP":
                    self.ledger.step(count % _ACCOUNT_EVERY)
                    return self.pop(), position + 1
                self._step(name, arg, len(data))
                if self.skip is not None:
                    break
            following = self._skip(data, position + 1)

    def _skip(self, data: bytes, start: int) -> int:
        padding = 1 + data[start] if self.padded and start < len(data) else 0
        stop = min(start + padding + (self.skip or 0), len(data))
        self.skipped.append((start, stop))
        self.skip = None
        return stop

    def _check_frame(self, position: int) -> None:
        if position > self.frame:
            self.judge.fault("an opcode reaches over the end of its frame, where unpicklers differ", position)
        self.frame = 0

    def fault(self, why: str) -> None:
        self.judge.fault(why, self.position, fatal=True)

    def pop(self) -> Value:
        if not self.stack or self.stack[-1] is _MARK:
            self.fault("it takes from an empty stack")
            return UNCLEAR
        return self.stack.pop()

    def pop_mark(self) -> list[Value]:
        if not self.marks:
            self.fault("a mark is missing from its stack")
            return []
        index = self.marks.pop()
        values = self.stack[index + 1 :]
        del self.stack[index:]
        return values

    def top(self) -> Value:
        if not self.stack or self.stack[-1] is _MARK:
            self.fault("it looks at an empty stack")
            return UNCLEAR
        return self.stack[-1]

    def _step(self, name: str, arg: Value, size: int) -> None:
        if (step := _STEPS.get(name)) is not None:
            step(self, arg)
        elif name == "FRAME":
            self.frame = self.position + 9 + arg
            if self.frame > size:
                self.fault("a frame is longer than the file")
        elif name == "PROTO":
            if arg > 5:
                self.fault(f"it says that it is of protocol {arg}, which does not exist")
        else:
            self.stack.append(arg)


# ---------------------------------------------------------------- one function per opcode that is no literal


def _global(m: Machine, arg: Value) -> None:
    m.stack.append(m.judge.named(arg[0], arg[1], m.position))


def _stack_global(m: Machine, _: Value) -> None:
    name, module = m.pop(), m.pop()
    m.stack.append(m.judge.named(module, name, m.position))


def _reduce(m: Machine, _: Value) -> None:
    args, function = m.pop(), m.pop()
    m.stack.append(m.judge.called(function, args, m.position))


def _newobj(m: Machine, _: Value) -> None:
    args, cls = m.pop(), m.pop()
    m.stack.append(m.judge.constructed(cls, args, m.position))


def _newobj_ex(m: Machine, _: Value) -> None:
    keywords, args, cls = m.pop(), m.pop(), m.pop()
    empty = isinstance(keywords, Items) and not keywords.pairs
    m.stack.append(m.judge.constructed(cls, args if empty else (args, keywords), m.position))


def _inst(m: Machine, arg: Value) -> None:
    args = tuple(m.pop_mark())
    m.stack.append(m.judge.called(m.judge.named(arg[0], arg[1], m.position), args, m.position))


def _obj(m: Machine, _: Value) -> None:
    cls, *args = m.pop_mark() or [UNCLEAR]
    m.stack.append(m.judge.called(cls, tuple(args), m.position))


def _ext(m: Machine, arg: Value) -> None:
    m.stack.append(m.judge.extension(arg, m.position))


def _build(m: Machine, _: Value) -> None:
    state = m.pop()
    m.judge.built(m.top(), state, m.position)


def _persid(m: Machine, _: Value) -> None:
    m.stack.append(m.judge.persistent(m.pop(), m.position))


def _text_persid(m: Machine, arg: Value) -> None:
    m.stack.append(m.judge.persistent(arg, m.position))


def _put(m: Machine, arg: Value) -> None:
    if not isinstance(arg, int) or arg < 0:
        m.fault("a memo index is no number")
    elif arg > m.ledger.budget.memo:
        m.fault("its memo has more entries than any model needs")
        raise Exhausted(f"a pickle's memo has more than {m.ledger.budget.memo:,} entries", Severity.HIGH)
    else:
        m.memo[arg] = m.top()


def _memoize(m: Machine, _: Value) -> None:
    _put(m, len(m.memo))


def _get(m: Machine, arg: Value) -> None:
    if isinstance(arg, Unclear) or arg not in m.memo:
        m.fault("it refers to a value that it never stored")
    m.stack.append(UNCLEAR if isinstance(arg, Unclear) else m.memo.get(arg, UNCLEAR))


def _append(m: Machine, _: Value) -> None:
    value = m.pop()
    _extend(m, [value])


def _appends(m: Machine, _: Value) -> None:
    values = m.pop_mark()
    _extend(m, values)


def _extend(m: Machine, values: list[Value]) -> None:
    target = m.top()
    if isinstance(target, list):
        target.extend(values)
    else:
        m.judge.filled(target, [(index, value) for index, value in enumerate(values)], m.position)


def _setitem(m: Machine, _: Value) -> None:
    value, key = m.pop(), m.pop()
    _fill(m, [(key, value)])


def _setitems(m: Machine, _: Value) -> None:
    pairs = _pairs(m, m.pop_mark())
    _fill(m, pairs)


def _fill(m: Machine, pairs: list[tuple[Value, Value]]) -> None:
    target = m.top()
    if isinstance(target, Items):
        target.pairs.extend(pairs)
    else:
        m.judge.filled(target, pairs, m.position)


def _pairs(m: Machine, values: list[Value]) -> list[tuple[Value, Value]]:
    if len(values) % 2:
        m.fault("a dictionary has a key without a value")
    return list(zip(values[::2], values[1::2], strict=False))


def _dup(m: Machine, _: Value) -> None:
    m.stack.append(m.top())


def _pop(m: Machine, _: Value) -> None:
    if not m.stack:
        m.fault("it takes from an empty stack")
    elif m.stack.pop() is _MARK:
        m.marks.pop()


def _tuple(size: int) -> Callable[[Machine, Value], None]:
    def step(m: Machine, _: Value) -> None:
        m.stack.append(tuple([m.pop() for _ in range(size)][::-1]))

    return step


def _mark(m: Machine, _: Value) -> None:
    m.marks.append(len(m.stack))
    m.stack.append(_MARK)


def _buffer(m: Machine, _: Value) -> None:
    m.fault("it takes its numbers from a buffer outside the file")
    m.stack.append(UNCLEAR)


_STEPS: dict[str, Callable[[Machine, Value], object]] = {
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
    "INST": _inst,
    "OBJ": _obj,
    **dict.fromkeys(["EXT1", "EXT2", "EXT4"], _ext),
    "BUILD": _build,
    "PERSID": _text_persid,
    "BINPERSID": _persid,
    **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT"], _put),
    "MEMOIZE": _memoize,
    **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], _get),
    "APPEND": _append,
    **dict.fromkeys(["APPENDS", "ADDITEMS"], _appends),
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "DUP": _dup,
    "POP": _pop,
    "POP_MARK": lambda m, _: m.pop_mark(),
    "MARK": _mark,
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_SET": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append(Items()),
    "LIST": lambda m, _: m.stack.append(m.pop_mark()),
    "FROZENSET": lambda m, _: m.stack.append(m.pop_mark()),
    "DICT": lambda m, _: m.stack.append(Items(_pairs(m, m.pop_mark()))),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "NEXT_BUFFER": _buffer,
    "READONLY_BUFFER": lambda m, _: m.top(),
}
