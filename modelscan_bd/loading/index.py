"""Which named architecture has these tensors? A table answers in milliseconds; building all of timm takes minutes.

Per architecture the table holds one digest of its tensor names, and one of the shapes that depend neither on the
number of classes nor on the input channels. A hit is only a candidate: it is built and compared before it is used.
`python -m modelscan_bd.loading.make_index` writes the table again for newer releases of timm and torchvision.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeAlias

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

TABLE = "architectures.json"
_COUNTER = "num_batches_tracked"  # absent from old files, and never needed


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One architecture's fingerprint. `loose` names the tensors whose shape follows from classes or channels."""

    arch: str
    tensors: int
    names: str
    body: str
    loose: tuple[str, ...]


def fingerprint(arch: str, shapes: Shapes, loose: Iterable[str]) -> Entry:
    kept = lasting(shapes)
    loose = tuple(sorted(set(loose) & set(kept)))
    return Entry(arch=arch, tensors=len(kept), names=_names(kept), body=_body(kept, loose), loose=loose)


def lasting(shapes: Shapes) -> Shapes:
    """The shapes without BatchNorm's counters, which not every file carries."""
    return {name: tuple(shape) for name, shape in shapes.items() if not name.endswith(_COUNTER)}


def candidates(shapes: Shapes) -> list[str]:
    """The architectures with exactly these tensors, up to the number of classes and input channels."""
    kept = lasting(shapes)
    names = _names(kept)
    return [entry.arch for entry in table() if entry.names == names and entry.body == _body(kept, entry.loose)]


def loose(arch: str) -> tuple[str, ...]:
    """The tensors whose shapes classes and channels decide; empty for an architecture that is not in the table."""
    return next((entry.loose for entry in table() if entry.arch == arch), ())


def nearest(shapes: Shapes, *, count: int = 3) -> list[str]:
    """The architectures that share the tensors' first and last names, closest in number of tensors first."""
    kept = lasting(shapes)
    related = [entry for entry in table() if entry.loose and set(entry.loose) <= set(kept)]
    return [entry.arch for entry in sorted(related, key=lambda entry: abs(entry.tensors - len(kept)))[:count]]


@functools.cache
def table() -> tuple[Entry, ...]:
    rows = json.loads((files(__package__) / TABLE).read_text(encoding="utf-8"))["architectures"]
    return tuple(
        Entry(arch=arch, tensors=row[0], names=row[1], body=row[2], loose=tuple(row[3])) for arch, row in rows.items()
    )


def _names(shapes: Shapes) -> str:
    return _digest(sorted(shapes))


def _body(shapes: Shapes, loose: Iterable[str]) -> str:
    free = set(loose)
    return _digest([f"{name}{list(shapes[name])}" for name in sorted(shapes) if name not in free])


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:12]
