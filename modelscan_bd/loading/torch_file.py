"""PyTorch's own files, zip and legacy: read by the audit first, then by torch's restricted unpickler."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
from typing import TypeAlias

import torch

from modelscan_bd.audit import pickles, recognise
from modelscan_bd.audit.contents import Contents
from modelscan_bd.audit.ledger import Exhausted, Ledger
from modelscan_bd.audit.pickles import Look
from modelscan_bd.audit.reading import Reading
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.rules import OVERRIDES, RUNS_CODE
from modelscan_bd.audit.tell import shown
from modelscan_bd.audit.zips import Zip
from modelscan_bd.errors import UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.grades import Severity
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.layer_classes import safe_globals
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.rebuild import DO_NOT_LOAD, SAVE_AGAIN, Wanted, refuse_unknown_calls, refuse_unusual, wanted
from modelscan_bd.loading.sniff import Kind

_VERSION = 1001
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


def check(blob: Blob, kind: Kind, limits: Limits) -> Wanted:
    """The static pass: the audit's readers, and on top what torch is to rebuild. Touches no torch code.

    Raises UnsafeModel where loading would run code, UnsupportedModel for what bdscan does not rebuild, UnreadableModel
    for whatever else the audit remarks upon.
    """
    name = blob.path.name
    where, readings, remarks = _audited(blob, kind, limits)
    _refuse(name, [remark for remark in remarks if remark.rule in (RUNS_CODE, OVERRIDES)])
    refuse_unknown_calls(readings, where)
    if kind is not Kind.ZIP and not pickles.is_legacy(readings):
        raise _plain_pickle(name, readings)
    names = wanted(readings, where)
    _refuse(name, remarks)
    _refuse_odd_form(name, kind, readings)
    refuse_unusual(readings, where)
    return names


def load(blob: Blob, names: Wanted) -> Object:
    """What the file holds, built by torch from what `check` has let through."""
    allowed = safe_globals(names.layers, names.others)
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")
        try:
            return torch.load(io.BytesIO(blob.data), map_location="cpu", weights_only=True)
        except REFUSALS as error:
            why = (str(error) or type(error).__name__).splitlines()[0][:160]
            raise UnreadableModel(f"PyTorch cannot read {blob.path.name}: {why}") from error


def _audited(blob: Blob, kind: Kind, limits: Limits) -> tuple[str, list[Reading], list[Remark]]:
    """What messages call the file's pickles, what was read of them, and all that the audit has against the file."""
    ledger = Ledger(limits.budget(), len(blob.data))
    look = Contents(ledger, None, 1).look
    try:
        where, readings = _of_zip(blob, ledger, look) if kind is Kind.ZIP else _of_stream(blob, ledger, look)
    except Exhausted as error:
        raise UnreadableModel(f"{blob.path.name} costs more to read than a model may: {error}") from None
    return where, readings, [remark for remark in ledger.close() if remark.severity is not Severity.INFO]


def _of_zip(blob: Blob, ledger: Ledger, look: Look) -> tuple[str, list[Reading]]:
    """What messages call the pickle, and what was read of it; nothing where there is not exactly one."""
    name, archive = blob.path.name, Zip(blob.data, "", ledger, look)
    if not archive.audit():
        raise UnreadableModel(f"{name} is a damaged or truncated zip archive")
    foreign = recognise.archive(archive.members)
    if foreign:
        raise foreign.error(name)
    roots = [member for member in archive.readings if member.endswith("/data.pkl") and member.count("/") == 1]
    return f"{name}, member {shown(roots[0])}" if roots else name, archive.readings[roots[0]] if len(roots) == 1 else []


def _of_stream(blob: Blob, ledger: Ledger, look: Look) -> tuple[str, list[Reading]]:
    return blob.path.name, pickles.audit(blob.data, "", ledger, look)


def _refuse(name: str, remarks: list[Remark]) -> None:
    """Raises for the first, which is the gravest."""
    for remark in remarks:
        what = f"{name}, {remark.place}: {remark.message}" if remark.place else f"{name}: {remark.message}"
        if remark.rule in (RUNS_CODE, OVERRIDES):
            raise UnsafeModel(what, remedy=DO_NOT_LOAD)
        raise UnreadableModel(what)


def _refuse_odd_form(name: str, kind: Kind, readings: list[Reading]) -> None:
    if kind is Kind.ZIP and not readings:
        raise UnreadableModel(f"{name} is a zip archive without the one data.pkl that torch.save writes")
    if kind is not Kind.ZIP and (len(readings) != pickles.LEGACY_STREAMS or readings[1].value != _VERSION):
        raise UnreadableModel(f"{name} is of no legacy version that PyTorch wrote")


def _plain_pickle(name: str, readings: list[Reading]) -> UnsupportedModel:
    libraries = {full.partition(".")[0] for reading in readings for full in reading.names}
    known = ("sklearn", "xgboost", "lightgbm", "catboost", "tensorflow", "keras", "numpy")
    library = next((library for library in known if library in libraries), None)
    what = f"a pickled {library} object" if library else "a pickle that torch.save did not write"
    return UnsupportedModel(f"{name} is {what}; bdscan does not unpickle it", remedy=SAVE_AGAIN)
