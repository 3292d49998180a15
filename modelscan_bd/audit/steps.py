"""What each opcode of a pickle does to the stack."""

from __future__ import annotations

from collections.abc import Callable

from modelscan_bd.audit.ledger import Exhausted
from modelscan_bd.audit.opcodes import UNCLEAR, Unclear
from modelscan_bd.audit.stack import MARK, Stack
from modelscan_bd.audit.values import Items, Value
from modelscan_bd.grades import Severity


def push(m: Stack, arg: Value) -> None:
    """What all opcodes do that are not in the table: those of numbers and texts."""
    if arg is UNCLEAR:
        m.judge.fault("a number or a text in it cannot be read", m.position)  # which one unpickler may read after all
    m.values.append(arg)


def _global(m: Stack, arg: Value) -> None:
    m.values.append(m.judge.named(arg[0], arg[1], m.position))


def _stack_global(m: Stack, _: Value) -> None:
    name, module = m.pop(), m.pop()
    m.values.append(m.judge.named(module, name, m.position))


def _reduce(m: Stack, _: Value) -> None:
    args, function = m.pop(), m.pop()
    m.values.append(m.judge.called(function, args, m.position))


def _newobj(m: Stack, _: Value) -> None:
    args, cls = m.pop(), m.pop()
    m.values.append(m.judge.constructed(cls, args, m.position))


def _newobj_ex(m: Stack, _: Value) -> None:
    keywords, args, cls = m.pop(), m.pop(), m.pop()
    empty = isinstance(keywords, Items) and not keywords.pairs
    m.values.append(m.judge.constructed(cls, args if empty else (args, keywords), m.position))


def _inst(m: Stack, arg: Value) -> None:
    args = tuple(m.pop_mark())
    m.values.append(m.judge.called(m.judge.named(arg[0], arg[1], m.position), args, m.position))


def _obj(m: Stack, _: Value) -> None:
    cls, *args = m.pop_mark() or [UNCLEAR]
    m.values.append(m.judge.called(cls, tuple(args), m.position))


def _ext(m: Stack, arg: Value) -> None:
    m.values.append(m.judge.extension(arg, m.position))


def _build(m: Stack, _: Value) -> None:
    state = m.pop()
    m.judge.built(m.top(), state, m.position)


def _persid(m: Stack, _: Value) -> None:
    m.values.append(m.judge.persistent(m.pop(), m.position))


def _text_persid(m: Stack, arg: Value) -> None:
    m.values.append(m.judge.persistent(arg, m.position))


def _put(m: Stack, arg: Value) -> None:
    if not isinstance(arg, int) or arg < 0:
        m.fault("a memo index is no number")
    elif arg > m.ledger.budget.memo:
        m.fault("its memo has more entries than any model needs")
        raise Exhausted(f"a pickle's memo has more than {m.ledger.budget.memo:,} entries", Severity.HIGH)
    else:
        m.memo[arg] = m.top()


def _memoize(m: Stack, _: Value) -> None:
    _put(m, len(m.memo))


def _get(m: Stack, arg: Value) -> None:
    if isinstance(arg, Unclear) or arg not in m.memo:
        m.fault("it refers to a value that it never stored")
    m.values.append(UNCLEAR if isinstance(arg, Unclear) else m.memo.get(arg, UNCLEAR))


def _append(m: Stack, _: Value) -> None:
    value = m.pop()
    _extend(m, [value])


def _appends(m: Stack, _: Value) -> None:
    values = m.pop_mark()
    _extend(m, values)


def _extend(m: Stack, values: list[Value]) -> None:
    target = m.top()
    if isinstance(target, list):
        target.extend(values)
    else:
        m.judge.filled(target, [(index, value) for index, value in enumerate(values)], m.position)


def _setitem(m: Stack, _: Value) -> None:
    value, key = m.pop(), m.pop()
    _fill(m, [(key, value)])


def _setitems(m: Stack, _: Value) -> None:
    pairs = _pairs(m, m.pop_mark())
    _fill(m, pairs)


def _fill(m: Stack, pairs: list[tuple[Value, Value]]) -> None:
    target = m.top()
    if isinstance(target, Items):
        target.pairs.extend(pairs)
    else:
        m.judge.filled(target, pairs, m.position)


def _pairs(m: Stack, values: list[Value]) -> list[tuple[Value, Value]]:
    if len(values) % 2:
        m.fault("a dictionary has a key without a value")
    return list(zip(values[::2], values[1::2], strict=False))


def _dup(m: Stack, _: Value) -> None:
    m.values.append(m.top())


def _pop(m: Stack, _: Value) -> None:
    if not m.values:
        m.fault("it takes from an empty stack")
    elif m.values.pop() is MARK:
        m.marks.pop()


def _tuple(size: int) -> Callable[[Stack, Value], None]:
    def step(m: Stack, _: Value) -> None:
        m.values.append(tuple([m.pop() for _ in range(size)][::-1]))

    return step


def _mark(m: Stack, _: Value) -> None:
    m.marks.append(len(m.values))
    m.values.append(MARK)


def _frame(m: Stack, arg: Value) -> None:
    m.frame = m.position + 9 + arg
    if m.frame > m.size:
        m.fault("a frame is longer than the file")


def _proto(m: Stack, arg: Value) -> None:
    m.protocol = arg
    if arg > 5:
        m.fault(f"it says that it is of protocol {arg}, which does not exist")


def _buffer(m: Stack, _: Value) -> None:
    m.fault("it takes its numbers from a buffer outside the file")
    m.values.append(UNCLEAR)


STEPS: dict[str, Callable[[Stack, Value], object]] = {
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
    "NONE": lambda m, _: m.values.append(None),
    "NEWTRUE": lambda m, _: m.values.append(True),
    "NEWFALSE": lambda m, _: m.values.append(False),
    "EMPTY_TUPLE": lambda m, _: m.values.append(()),
    "EMPTY_LIST": lambda m, _: m.values.append([]),
    "EMPTY_SET": lambda m, _: m.values.append([]),
    "EMPTY_DICT": lambda m, _: m.values.append(Items()),
    "LIST": lambda m, _: m.values.append(m.pop_mark()),
    "FROZENSET": lambda m, _: m.values.append(m.pop_mark()),
    "DICT": lambda m, _: m.values.append(Items(_pairs(m, m.pop_mark()))),
    "TUPLE": lambda m, _: m.values.append(tuple(m.pop_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "FRAME": _frame,
    "PROTO": _proto,
    "NEXT_BUFFER": _buffer,
    "READONLY_BUFFER": lambda m, _: m.top(),
}
