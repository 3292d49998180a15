"""From the name of a layer to its class: only genuine nn.Module subclasses, where they are defined."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from typing import Any

from torch import nn

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.torchvision_shim import prepare

_NUMPY_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_NUMPY_KINDS = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1"
# nn.Module subclasses whose state is code, or who call what their state names
_CODE_IN_STATE = frozenset({"GraphModule", "ScriptModule", "RecursiveScriptModule", "DistributedDataParallel"})


@functools.cache
def layer(full: str) -> type[nn.Module]:
    """Raises UnsupportedModel where the installed libraries define no such layer."""
    module, _, name = full.rpartition(".")
    prepare()
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        found = None
    at_home = (getattr(found, "__module__", None), getattr(found, "__qualname__", None)) == (module, name)
    if at_home and isinstance(found, type) and issubclass(found, nn.Module) and not _keeps_code(found):
        return found
    raise UnsupportedModel(
        f"The network needs {full}, which the installed libraries do not define as a network class",
        remedy="Install the library's version it was saved with, or scan its state_dict.",
    )


def safe_globals(layers: Iterable[str], others: Iterable[str]) -> list[Any]:
    """What torch's own unpickler must be allowed on top of its defaults, after `rebuild` has looked at the file."""
    allowed: list[Any] = [layer(full) for full in sorted(layers)]
    for full in sorted(others):
        allowed += _other(full)
    return allowed


def _other(full: str) -> list[Any]:
    if full == "numpy.dtype" or full in _NUMPY_SCALAR:
        import numpy as np
        from numpy._core.multiarray import scalar

        kinds = [type(np.dtype(code)) for code in _NUMPY_KINDS.split()]
        return [np.dtype, *kinds, *((scalar, name) for name in _NUMPY_SCALAR)]
    prepare()
    module, _, name = full.rpartition(".")
    return [(getattr(importlib.import_module(module), name), full)]


def _keeps_code(cls: type) -> bool:
    return any(base.__name__ in _CODE_IN_STATE for base in cls.__mro__)
