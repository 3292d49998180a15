"""What a pickled checkpoint may do. The default is no.

Three answers: UnsafeModel at once where a call or a name would run code; UnsupportedModel, kept until the whole pickle
has been read, where it only holds what bdscan cannot rebuild; UnreadableModel where it contradicts itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, final

from modelscan_bd.errors import BdscanError, UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.loading import names
from modelscan_bd.loading.names import Kin, kin
from modelscan_bd.loading.values import Call, Global, Items, Stored, Value, text

_RESAVE = "Save the network's state_dict, best as safetensors, and scan that."
_SPARE = 2**24  # elements that views may show beyond what is stored
_NUMPY_PLAIN = re.compile(r"[<>|=]?[fiub][1248]")


@final
@dataclass
class Rules:
    """The judge of one pickle stream. `where` names it in messages, `position` is the opcode's byte offset."""

    where: str
    position: int = 0
    storages: dict[str, Stored] = field(default_factory=dict)
    layers: set[str] = field(default_factory=set)
    extras: set[str] = field(default_factory=set)  # allowed names that torch does not allow by itself
    refusals: list[UnsupportedModel] = field(default_factory=list)
    spare: int = _SPARE

    # ------------------------------------------------------------ answers

    def unsafe(self, what: str) -> UnsafeModel:
        return UnsafeModel(f"{self._here()} {what}", remedy="Do not load this file with PyTorch.")

    def broken(self, why: str) -> BdscanError:
        """What ends the reading: an earlier refusal says more than the break."""
        return self.refusals[0] if self.refusals else UnreadableModel(f"{self._here()} is no valid pickle: {why}")

    def refuse(self, what: str, remedy: str = _RESAVE) -> None:
        self.refusals.append(UnsupportedModel(f"{self._here()} {what}", remedy=remedy))

    def _here(self) -> str:
        return f"{self.where}, byte {self.position},"

    # ------------------------------------------------------------ what opcodes ask

    def named(self, module: str, name: str) -> Global:
        module, name = names.modern(module, name)
        full = f"{module}.{name}"
        shown = repr(full)[1:-1][:120]
        if not all(part.isidentifier() for part in module.split(".")) or not name.isidentifier():
            raise self.unsafe(f"imports '{shown}', which reaches through one module into another")
        if kin(full) is Kin.DANGEROUS:
            raise self.unsafe(f"imports {shown}, which can run code or reach outside the file")
        if kin(full) is Kin.LAYER:
            self.layers.add(full)
        elif kin(full) in (Kin.UNKNOWN, Kin.ORDINARY):
            self.refuse(f"needs {shown}; bdscan rebuilds only torch.nn, torchvision and timm classes")
        elif full in (names.NAMESPACE, names.PARTIAL, names.FORMAT, names.NUMPY_DTYPE, *names.NUMPY_SCALAR):
            self.extras.add(full)
        return Global(full)

    def called(self, function: Value, args: Value) -> Value:
        if not isinstance(function, Global):
            raise self.unsafe(f"calls {text(function)}, which is not a name")
        if not isinstance(args, tuple):
            raise self.broken("it calls with something that is no tuple")
        if kin(function.full) is Kin.ORDINARY:
            return Call(function, args, new=False)
        if function.full in names.NOT_DENSE:
            self.refuse(f"holds {names.NOT_DENSE[function.full]}, which bdscan does not read")
        elif function.full not in names.CALLED:
            raise self.unsafe(f"calls {function.full} with arguments of its own choice")
        else:
            self._check_call(function.full, args)
        return Call(function, args, new=False)

    def constructed(self, cls: Value, args: Value) -> Value:
        if not isinstance(cls, Global):
            raise self.unsafe(f"constructs {text(cls)}, which is not a name")
        known = kin(cls.full) is Kin.LAYER or cls.full in names.CONSTRUCTED
        if known and args != ():
            raise self.unsafe(f"constructs {cls.full} with arguments of its own choice")
        if not known and kin(cls.full) is Kin.ALLOWED:
            raise self.unsafe(f"constructs {cls.full} outside its usual way")
        return Call(cls, (), new=True)

    def built(self, target: Value, state: Value) -> None:
        if not isinstance(target, Call):
            raise self.broken(f"it sets the state of a {text(target)}")
        full = target.name.full
        if full == names.PARTIAL:
            self._check_partial(state)
        elif full == names.NUMPY_DTYPE:
            usual = (
                isinstance(state, tuple) and state[2:] == (None, None, None, -1, -1, 0) and all(map(_is_plain, state))
            )
            self._demand(usual, full)
        elif full == names.ORDERED_DICT:
            keys = [key for key, _ in state.pairs] if isinstance(state, Items) else [state]
            if keys != ["_metadata"]:
                self.refuse("gives a dictionary attributes")
        elif kin(full) is Kin.LAYER or full == names.NAMESPACE:
            if not isinstance(state, Items) or not all(isinstance(key, str) for key, _ in state.pairs):
                raise self.broken(f"the state of {full} is no dictionary of attributes")
        elif kin(full) is Kin.ALLOWED and full not in names.NOT_DENSE:
            self.refuse(f"sets the state of a {full}")

    def filled(self, target: Value, pairs: list[tuple[Value, Value]]) -> None:
        if isinstance(target, Items):
            target.pairs.extend(pairs)
        elif isinstance(target, Call) and target.name.full == names.ORDERED_DICT:
            target.items.pairs.extend(pairs)
        elif not isinstance(target, Call) or kin(target.name.full) not in (Kin.UNKNOWN, Kin.ORDINARY):
            raise self.broken(f"it puts items into a {text(target)}")

    def persistent(self, key: Value) -> Value:
        """A storage's id: ('storage', class, key, location, number of elements[, view])."""
        if isinstance(key, tuple) and len(key) == 4 and key[0] == "module" and isinstance(key[1], Global):
            self.refuse("is a whole network in PyTorch's old format", "Load it where you trust it and save it again.")
            return key[1]
        if not (isinstance(key, tuple) and len(key) in (5, 6) and key[0] == "storage" and key[5:] in ((), (None,))):
            raise self.broken("it refers to a storage in a way torch never does")
        _, cls, name, location, elements = key[:5]
        texts = isinstance(name, str) and isinstance(location, str)
        if not (isinstance(cls, Global) and cls.full in names.STORAGES and texts and _count(elements)):
            raise self.broken("it refers to a storage in a way torch never does")
        stored = Stored(name, elements, names.STORAGES[cls.full])
        if (earlier := self.storages.setdefault(name, stored)) is not stored and _bytes(earlier) != _bytes(stored):
            raise self.broken(f"storage '{name}' is given two sizes")
        return stored

    # ------------------------------------------------------------ the few calls that are allowed

    def _check_call(self, full: str, args: tuple[Value, ...]) -> None:
        if full in names.REBUILD_TENSOR:
            self._check_tensor(args)
        elif full == names.PARTIAL:
            fine = len(args) == 1 and isinstance(args[0], Global) and kin(args[0].full) is Kin.LAYER
            self._demand(fine, full)
        elif full == names.REBUILD_PARAMETER:
            fine = len(args) == 3 and isinstance(args[0], Call) and args[0].name.full in names.REBUILD_TENSOR
            self._demand(fine and _no_hooks(args[2]), full)
        elif full in names.NUMPY_SCALAR:
            fine = len(args) == 2 and isinstance(args[0], Call) and args[0].name.full == names.NUMPY_DTYPE
            self._demand(fine and isinstance(args[1], (bytes, Call)), full)
        elif full == names.NUMPY_DTYPE:
            self._demand(args and isinstance(args[0], str) and _NUMPY_PLAIN.fullmatch(args[0]), full)
        elif full == names.ORDERED_DICT:
            self._demand(args == () or (len(args) == 1 and isinstance(args[0], list)), full)
        elif full == "builtins.set":
            self._demand(len(args) == 1 and isinstance(args[0], list) and all(map(_is_plain, args[0])), full)
        elif full == "torch.Size":
            self._demand(len(args) == 1 and isinstance(args[0], tuple) and all(map(_is_plain, args[0])), full)
        else:
            self._demand(all(map(_is_plain, args)), full)

    def _check_partial(self, state: Value) -> None:
        fine = isinstance(state, tuple) and len(state) == 4 and isinstance(state[0], Global) and state[1] == ()
        keywords = state[2] if fine and isinstance(state, tuple) else None
        plain = isinstance(keywords, Items) and all(_is_plain(v) for pair in keywords.pairs for v in pair)
        fine = fine and isinstance(state, tuple) and kin(text(state[0])) is Kin.LAYER
        self._demand(fine and plain, names.PARTIAL)

    def _check_tensor(self, args: tuple[Any, ...]) -> None:
        """(storage, offset, size, stride[, requires_grad, hooks[, metadata]]): a view that lies inside its storage."""
        if len(args) < 4 or not isinstance(stored := args[0], Stored):
            raise self.broken("a tensor does not name its storage")
        offset, size, stride = args[1:4]
        dims = [*size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else [None]
        if not (_count(offset) and all(map(_count, dims)) and len(size) == len(stride) <= 32):
            raise self.broken("a tensor's shape, stride or offset is no list of numbers")
        self._check_view(stored, offset, size, stride)
        if len(args) > 5 and not _no_hooks(args[5]):
            raise self.unsafe("gives a tensor hooks, which run code during training")

    def _check_view(self, stored: Stored, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        elements = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if elements and last >= stored.elements:
            raise self.broken(f"a tensor of {elements} numbers reaches beyond its storage of {stored.elements}")
        self.spare -= max(0, elements - stored.elements)
        if self.spare < 0:
            raise self.broken(f"tensors repeat their storage to {elements} numbers, more than any model needs")

    def _demand(self, fine: object, full: str) -> None:
        if not fine:
            raise self.unsafe(f"calls {full} with unusual arguments")


def _count(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _bytes(stored: Stored) -> int:
    return stored.elements * stored.itemsize


def _is_plain(value: Value) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, bytes))


def _no_hooks(value: Value) -> bool:
    return value is None or (
        isinstance(value, Call)
        and value.name.full == names.ORDERED_DICT
        and not value.items.pairs
        and value.args in ((), ([],))
    )
