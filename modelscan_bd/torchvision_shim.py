"""Lets torchvision import beside a torch that its compiled half was not built for.

PyPI's torchvision is built against CUDA. Beside a CPU build of torch its C++ library does not load, and
`import torchvision` (hence timm) fails with "operator torchvision::nms does not exist", because it registers
shape rules for two operators that nobody declared. Classification needs neither, so declaring their schemas is
enough. Where the real operators exist nothing is done. Call `prepare()` before importing torchvision or timm.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")


@functools.cache
def prepare() -> torch.library.Library | None:
    """Declares the missing operators, once per process; the cache keeps the declaration alive."""
    if "torchvision" in sys.modules or _compiled_half_loads():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _compiled_half_loads() -> bool:
    """Loads torchvision's C++ library the way torchvision itself does; says whether that worked."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # nothing to mend: the import will say so itself
    folder = Path(next(iter(spec.submodule_search_locations)))
    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return True
