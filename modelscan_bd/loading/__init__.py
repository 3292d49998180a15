"""From a file to a network, without running a byte of the file.

Each format has a module that first checks the bytes by rules of its own and only then hands them to the library that
reads them. `load` is the only way in; it is the one that needs torch, and is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from modelscan_bd.loading.limits import Limits as Limits

if TYPE_CHECKING:
    from modelscan_bd.loading.entry import load as load


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelscan_bd.loading.entry import load

    return load
