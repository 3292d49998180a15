"""Reads a pickle's opcodes on a stack of inert values; `rules.Rules` says no to all that is not a plain checkpoint."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.rules import Rules
from modelscan_bd.loading.values import Items, Value


@final
class _Mark:
    """The bottom of a group of values on the stack."""


_MARK: Final = _Mark()
_LITERALS = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "FLOAT",
        "BINFLOAT",
    ]
)
_CONSTANTS: dict[str, Value] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = frozenset({"PROTO", "FRAME"})


@dataclass
class Machine:
    """One pickle, read from `start`. The fields are the pickle machine's own: a stack and a memo."""

    rules: Rules
    limits: Limits
    stack: list[Value | _Mark] = field(default_factory=list)
    memo: dict[int, Value] = field(default_factory=dict)

    def run(self, data: bytes, start: int) -> tuple[Value, int]:
        """The value and the position after STOP. Raises UnsafeModel by the rules, UnreadableModel where it breaks."""
        stream = io.BytesIO(data)
        stream.seek(start)
        for count, (name, arg, position) in enumerate(_opcodes(stream, self.rules.where)):
            self.rules.position = position
            if count > self.limits.opcodes or position - start > self.limits.pickle_bytes:
                raise self.rules.broken("it is longer than any model's")
            if name == "STOP":
                return self.pop(), stream.tell()
            self._step(name, arg)
        raise self.rules.broken("it has no end")

    def pop(self) -> Value:
        value = self.stack.pop() if self.stack else _MARK
        if isinstance(value, _Mark):
            raise self.rules.broken("it takes from an empty stack")
        return value

    def pop_mark(self) -> list[Value]:
        values: list[Value] = []
        while self.stack:
            value = self.stack.pop()
            if isinstance(value, _Mark):
                return values[::-1]
            values.append(value)
        raise self.rules.broken("a mark is missing from its stack")

    def top(self) -> Value:
        value = self.pop()
        self.stack.append(value)
        return value

    def _step(self, name: str, arg: Value) -> None:
        if name in _LITERALS:
            self.stack.append(arg)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _STEPS:
            _STEPS[name](self, arg)
        elif name not in _IGNORED:
            raise self.rules.broken(f"it uses the opcode {name}, which no checkpoint needs")


def _opcodes(stream: io.BytesIO, where: str) -> Iterator[tuple[str, Value, int]]:
    try:
        for opcode, arg, position in pickletools.genops(stream):
            yield opcode.name, arg, position or 0
    except (ValueError, EOFError, OverflowError, IndexError) as error:
        raise UnreadableModel(f"{where} is a broken pickle ({str(error)[:120]})") from None


# ---------------------------------------------------------------- one function per opcode that is no literal


def _global(m: Machine, arg: Value) -> None:
    module, _, name = str(arg).partition(" ")
    m.stack.append(m.rules.named(module, name))


def _stack_global(m: Machine, _: Value) -> None:
    name, module = m.pop(), m.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise m.rules.unsafe("computes the name of what it imports")
    m.stack.append(m.rules.named(module, name))


def _reduce(m: Machine, _: Value) -> None:
    args, function = m.pop(), m.pop()
    m.stack.append(m.rules.called(function, args))


def _newobj(m: Machine, _: Value) -> None:
    args, cls = m.pop(), m.pop()
    m.stack.append(m.rules.constructed(cls, args))


def _newobj_ex(m: Machine, _: Value) -> None:
    keywords, args, cls = m.pop(), m.pop(), m.pop()
    m.stack.append(m.rules.constructed(cls, (args, keywords)))


def _inst(m: Machine, arg: Value) -> None:
    module, _, name = str(arg).partition(" ")
    m.stack.append(m.rules.called(m.rules.named(module, name), tuple(m.pop_mark())))


def _obj(m: Machine, _: Value) -> None:
    cls, *args = m.pop_mark() or [None]
    m.stack.append(m.rules.called(cls, tuple(args)))


def _ext(m: Machine, _: Value) -> None:
    raise m.rules.unsafe("imports through the interpreter's extension registry")


def _build(m: Machine, _: Value) -> None:
    state = m.pop()
    m.rules.built(m.top(), state)


def _persid(m: Machine, _: Value) -> None:
    m.stack.append(m.rules.persistent(m.pop()))


def _text_persid(m: Machine, _: Value) -> None:
    raise m.rules.broken("it refers to its storages by text, which torch never does")


def _put(m: Machine, arg: Value) -> None:
    m.memo[_index(m, arg)] = m.top()


def _memoize(m: Machine, _: Value) -> None:
    m.memo[len(m.memo)] = m.top()


def _get(m: Machine, arg: Value) -> None:
    try:
        m.stack.append(m.memo[_index(m, arg)])
    except KeyError:
        raise m.rules.broken("it refers to a value it never stored") from None


def _index(m: Machine, arg: Value) -> int:
    if not isinstance(arg, int):
        raise m.rules.broken("a memo index is no number")
    return arg


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
        m.rules.filled(target, [])


def _setitem(m: Machine, _: Value) -> None:
    value, key = m.pop(), m.pop()
    m.rules.filled(m.top(), [(key, value)])


def _setitems(m: Machine, _: Value) -> None:
    pairs = _pairs(m, m.pop_mark())
    m.rules.filled(m.top(), pairs)


def _pairs(m: Machine, values: list[Value]) -> list[tuple[Value, Value]]:
    if len(values) % 2:
        raise m.rules.broken("a dictionary has a key without a value")
    return list(zip(values[::2], values[1::2], strict=True))


def _dup(m: Machine, _: Value) -> None:
    m.stack.append(m.top())


def _pop(m: Machine, _: Value) -> None:
    if not m.stack:
        raise m.rules.broken("it takes from an empty stack")
    m.stack.pop()


def _tuple(size: int) -> Callable[[Machine, Value], None]:
    def step(m: Machine, _: Value) -> None:
        m.stack.append(tuple([m.pop() for _ in range(size)][::-1]))

    return step


_STEPS: dict[str, Callable[[Machine, Value], object]] = {
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
    "INST": _inst,
    "OBJ": _obj,
    "EXT1": _ext,
    "EXT2": _ext,
    "EXT4": _ext,
    "BUILD": _build,
    "PERSID": _text_persid,
    "BINPERSID": _persid,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _memoize,
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "APPEND": _append,
    "APPENDS": _appends,
    "ADDITEMS": _appends,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "DUP": _dup,
    "POP": _pop,
    "POP_MARK": lambda m, _: m.pop_mark(),
    "MARK": lambda m, _: m.stack.append(_MARK),
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
}
