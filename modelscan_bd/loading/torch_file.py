"""PyTorch's own files, zip and legacy: read by our rules first, then by torch's restricted unpickler."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
from typing import TypeAlias

import torch

from modelscan_bd.audit import recognise
from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.loading.archive import Archive, Member
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.layer_classes import safe_globals
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.opcodes import Machine
from modelscan_bd.loading.rules import Rules
from modelscan_bd.loading.sniff import Kind
from modelscan_bd.loading.values import Value

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_SAVE_AGAIN = (
    "Where you trust the file, save the state_dict again with torch.save's default protocol, or as safetensors."
)
REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    EOFError,
    ImportError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)  # what torch.load is known to raise on damaged files

Object: TypeAlias = object


def check(blob: Blob, kind: Kind, limits: Limits) -> Rules:
    """The static pass. Raises UnsafeModel, UnsupportedModel or UnreadableModel; touches no torch code."""
    rules = _check_zip(blob, limits) if kind is Kind.ZIP else _check_stream(blob, limits)
    if rules.refusals:
        raise rules.refusals[0]
    return rules


def load(blob: Blob, rules: Rules) -> Object:
    """What the file holds, built by torch from what `check` has let through."""
    allowed = safe_globals(rules.layers, rules.extras)
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")
        try:
            return torch.load(io.BytesIO(blob.data), map_location="cpu", weights_only=True)
        except REFUSALS as error:
            why = (str(error) or type(error).__name__).splitlines()[0][:160]
            raise UnreadableModel(f"PyTorch cannot read {blob.path.name}: {why}") from error


# ---------------------------------------------------------------- zip


def _check_zip(blob: Blob, limits: Limits) -> Rules:
    name = blob.path.name
    archive = Archive(name, blob.data, limits)
    foreign = recognise.archive(archive.names())
    if foreign:
        raise foreign.error(name)
    found = {
        member.name: _scan(archive, member, limits) for member in archive.members if _may_be_pickle(archive, member)
    }
    archive.raise_problems()
    roots = [member for member in found if member.endswith("/data.pkl") and member.count("/") == 1]
    if len(roots) != 1:
        raise UnreadableModel(f"{name} is a zip archive without the one data.pkl that torch.save writes")
    rules, folder = found[roots[0]], roots[0].removesuffix("data.pkl")
    _check_records(name, rules, {member.name.removeprefix(folder): member.size for member in archive.members})
    return rules


def _may_be_pickle(archive: Archive, member: Member) -> bool:
    """Raw weights may look like anything, and nothing ever unpickles them."""
    if member.name.split("/", 1)[-1].startswith("data/"):
        return False
    head = archive.read(member, 2)
    return member.name.endswith((".pkl", ".pickle")) or (head[:1] == b"\x80" and head[1:2] <= b"\x05")


def _scan(archive: Archive, member: Member, limits: Limits) -> Rules:
    rules = Rules(where=f"{archive.name}, member {member.name}")
    data, position = archive.read(member, limits.pickle_bytes + 1), 0
    while position < len(data):  # what follows the first STOP is read too
        _, position = Machine(rules, limits).run(data, position)
    _check_protocol(rules, data)
    return rules


def _check_records(name: str, rules: Rules, sizes: dict[str, int]) -> None:
    for stored in rules.storages.values():
        held = sizes.get(f"data/{stored.key}")
        if held != stored.elements * stored.itemsize:
            says = f"{stored.elements * stored.itemsize} bytes"
            raise UnreadableModel(f"{name}: storage '{stored.key}' should have {says} and has {held or 0}")


# ---------------------------------------------------------------- legacy: pickles one after another, then the weights


def _check_stream(blob: Blob, limits: Limits) -> Rules:
    rules = Rules(where=blob.path.name)
    value, position = Machine(rules, limits).run(blob.data, 0)
    if value != _MAGIC:
        _raise_for_plain_pickle(rules)
    version, position = Machine(rules, limits).run(blob.data, position)
    _, position = Machine(rules, limits).run(blob.data, position)
    start = position
    _, position = Machine(rules, limits).run(blob.data, position)
    _check_protocol(rules, blob.data[start : start + 2])
    keys, position = Machine(rules, limits).run(blob.data, position)
    if rules.refusals:
        raise rules.refusals[0]
    if version != _VERSION:
        raise UnreadableModel(f"{blob.path.name} is of no legacy version that PyTorch wrote")
    _check_tail(blob, rules, keys, position)
    return rules


def _raise_for_plain_pickle(rules: Rules) -> None:
    library = _library(rules.refusals)
    what = f"a pickled {library} object" if library else "a pickle that torch.save did not write"
    raise UnsupportedModel(f"{rules.where} is {what}; bdscan does not unpickle it", remedy=_SAVE_AGAIN)


def _library(refusals: list[UnsupportedModel]) -> str | None:
    text = " ".join(refusal.what for refusal in refusals)
    known = ("sklearn", "xgboost", "lightgbm", "catboost", "tensorflow", "keras", "numpy")
    return next((library for library in known if f"needs {library}." in text), None)


def _check_tail(blob: Blob, rules: Rules, keys: Value, position: int) -> None:
    """Each storage is a count of elements and the numbers; together they end the file."""
    if not isinstance(keys, list) or {*map(str, keys)} != set(rules.storages) or len(keys) != len(rules.storages):
        raise UnreadableModel(f"{blob.path.name}: the list of storages is not the list of those in use")
    for key in keys:
        stored = rules.storages[str(key)]
        count = int.from_bytes(blob.data[position : position + 8], "little", signed=True)
        position += 8 + stored.elements * stored.itemsize
        if count != stored.elements or position > len(blob.data):
            raise UnreadableModel(f"{blob.path.name}: storage '{key}' is cut short or of another size than declared")


def _check_protocol(rules: Rules, head: bytes) -> None:
    if head[:1] == b"\x80" and head[1] != 2:
        rules.refuse(f"is pickled with protocol {head[1]}, which PyTorch's safe reader does not read", _SAVE_AGAIN)
