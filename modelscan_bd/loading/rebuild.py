"""What torch is to rebuild of a pickle that the audit has read: dense tensors, plain containers, known networks.

Torch's restricted unpickler calls what it is allowed with any arguments and sets any attribute, so both are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from modelscan_bd.audit import names
from modelscan_bd.audit.names import Grade, Rebuilt
from modelscan_bd.audit.reading import Reading
from modelscan_bd.audit.tell import call_text, shown
from modelscan_bd.audit.tensors import REBUILT
from modelscan_bd.audit.values import Call, Items, Name, Value
from modelscan_bd.errors import UnreadableModel, UnsafeModel, UnsupportedModel

DO_NOT_LOAD: Final = "Do not load this file with PyTorch."
_ONLY: Final = "bdscan rebuilds only dense tensors and the classes of torch.nn, torchvision and timm"
_RESAVE: Final = "Save the network's state_dict, best as safetensors, and scan that."
SAVE_AGAIN: Final = (
    "Where you trust the file, save the state_dict again with torch.save's default protocol, or as safetensors."
)
_DICTIONARY, _NAMESPACE, _PARTIAL, _DTYPE = (
    "collections.OrderedDict",
    "argparse.Namespace",  # in which training scripts keep their arguments
    "functools.partial",
    "numpy.dtype",
)
_NUMPY_PLAIN: Final = re.compile(r"[<>|=]?[fiub][1248]")


@final
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Names that torch must be told of: network classes, and a few others."""

    layers: frozenset[str]
    others: frozenset[str]


def wanted(readings: Iterable[Reading], where: str) -> Wanted:
    """Raises UnsupportedModel for what bdscan does not rebuild."""
    known: dict[str, Name] = {}
    for reading in readings:
        if reading.sourced:
            remedy = "Load it where you trust it and save it again."
            raise UnsupportedModel(f"{where} is a whole network in PyTorch's old format", remedy=remedy)
        if reading.protocol not in (None, 2):
            what = f"{where} is pickled with protocol {reading.protocol}, which PyTorch's safe reader does not read"
            raise UnsupportedModel(what, remedy=SAVE_AGAIN)
        known |= reading.names
    for name in known.values():
        if name.grade is not Grade.LAYER and names.entry(name.full).rebuilt is Rebuilt.NOT:
            what = f"{where}, byte {name.position}, needs {shown(name.full)}"
            raise UnsupportedModel(f"{what}; {_ONLY}", remedy=_RESAVE)
    told = frozenset(full for full in known if names.entry(full).rebuilt is Rebuilt.TOLD)
    return Wanted(layers=frozenset(full for full, name in known.items() if name.grade is Grade.LAYER), others=told)


def refuse_unknown_calls(readings: Iterable[Reading], where: str) -> None:
    """Raises UnsafeModel where a function is called that nobody knows."""
    for reading in readings:
        for call in reading.calls:
            if isinstance(call.function, Name) and call.function.grade is Grade.UNKNOWN and not call.new:
                what = f"calls {call_text(call.function, call.args)}, which bdscan does not know"
                raise UnsafeModel(f"{where}, byte {call.position}, {what}", remedy=DO_NOT_LOAD)


def refuse_unusual(readings: Iterable[Reading], where: str) -> None:
    """Raises for calls, states and items that torch's writers never make of names that may be rebuilt."""
    for reading in readings:
        if any(not stored.whole for stored in reading.storages.values()):
            raise UnsupportedModel(
                f"{where} has storages that are views of others, as PyTorch 0.3 wrote", remedy=_RESAVE
            )
        for call in reading.calls:
            place = f"{where}, byte {call.position},"
            if not (isinstance(call.function, Name) and isinstance(call.args, tuple)):
                raise UnreadableModel(f"{place} calls what it has computed")
            if not _is_usual(call, call.function):
                what = f"calls {call_text(call.function, call.args)}, which no model writer does"
                raise UnsafeModel(f"{place} {what}", remedy=DO_NOT_LOAD)
            if call.items.pairs and call.function.full != _DICTIONARY:
                raise UnreadableModel(f"{place} puts items into a {call.function.full}")
            for state, _ in call.states:
                _refuse_state(call.function, state, place)


def _is_usual(call: Call, name: Name) -> bool:
    if call.new:
        return call.args == () and (name.grade is Grade.LAYER or name.full in (_DICTIONARY, _NAMESPACE))
    check = _ARGUMENTS.get(name.full)
    return check(call.args) if check else name.grade is not Grade.LAYER and all(map(_is_plain, call.args))


def _refuse_state(name: Name, state: Value, place: str) -> None:
    if name.full == _PARTIAL:
        fine = _is_usual_partial(state)
    elif name.full == _DTYPE:
        fine = isinstance(state, tuple) and state[2:] == (None, None, None, -1, -1, 0) and all(map(_is_plain, state))
    elif name.grade is Grade.LAYER or name.full == _NAMESPACE:
        fine = isinstance(state, Items) and all(isinstance(key, str) for key, _ in state.pairs)
    else:
        only_versions = isinstance(state, Items) and [key for key, _ in state.pairs] == ["_metadata"]
        if name.full != _DICTIONARY or not only_versions:
            raise UnsupportedModel(f"{place} sets attributes of a {name.full}", remedy=_RESAVE)
        fine = True
    if not fine:
        raise UnsafeModel(f"{place} gives a {name.full} a state that no model writer does", remedy=DO_NOT_LOAD)


def _is_usual_partial(state: Value) -> bool:
    """(class, arguments, keywords, attributes), of which only keywords are given, and plain ones."""
    if not (isinstance(state, tuple) and len(state) == 4 and _is_layer(state[0]) and state[1] == ()):
        return False
    return isinstance(state[2], Items) and all(_is_plain(value) for pair in state[2].pairs for value in pair)


# ---------------------------------------------------------------- arguments


def _of_dictionary(args: tuple[Value, ...]) -> bool:
    return args == () or (len(args) == 1 and isinstance(args[0], list))


def _of_plain_list(args: tuple[Value, ...]) -> bool:
    return len(args) == 1 and isinstance(args[0], (list, tuple)) and all(map(_is_plain, args[0]))


def _of_scalar(args: tuple[Value, ...]) -> bool:
    return len(args) == 2 and _is_call(args[0], {_DTYPE}) and isinstance(args[1], (bytes, Call))


def _of_dtype(args: tuple[Value, ...]) -> bool:
    return bool(args) and isinstance(args[0], str) and _NUMPY_PLAIN.fullmatch(args[0]) is not None


def _of_parameter(args: tuple[Value, ...]) -> bool:
    return len(args) == 3 and _is_call(args[0], REBUILT)  # its hooks the audit has looked at


def _of_partial(args: tuple[Value, ...]) -> bool:
    return len(args) == 1 and _is_layer(args[0])


def _of_tensor(args: tuple[Value, ...]) -> bool:
    return len(args) >= 4  # the audit has looked at all of it


_ARGUMENTS: Final = {
    _DICTIONARY: _of_dictionary,
    _PARTIAL: _of_partial,
    _DTYPE: _of_dtype,
    "builtins.set": _of_plain_list,
    "torch.Size": _of_plain_list,
    "torch._utils._rebuild_parameter": _of_parameter,
    **dict.fromkeys(REBUILT, _of_tensor),
    **dict.fromkeys(["numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"], _of_scalar),
}  # of all others, plain values only


def _is_plain(value: Value) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, bytes))


def _is_layer(value: Value) -> bool:
    return isinstance(value, Name) and value.grade is Grade.LAYER


def _is_call(value: Value, functions: Iterable[str]) -> bool:
    return isinstance(value, Call) and isinstance(value.function, Name) and value.function.full in functions
