"""The rehearsal itself: `python -m modelscan_bd.loading.child KIND PATH SHA256 BYTES MEMORY SECONDS`.

Exit code 0 says that loading ended, with a network or with an orderly refusal that the parent will meet again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from modelscan_bd.errors import BdscanError
from modelscan_bd.loading import blob, onnx_file, torch_file
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.module_tree import check_tree
from modelscan_bd.loading.registries import image_size
from modelscan_bd.loading.rehearsal import CHANGED, OUT_OF_MEMORY
from modelscan_bd.loading.sniff import Kind
from modelscan_bd.loading.state_dict import weights
from modelscan_bd.machine import was_lacking
from modelscan_bd.supervision.resources import address_space, bound, bounds_memory


def main() -> int:
    kind, path, sha256 = Kind[sys.argv[1]], Path(sys.argv[2]), sys.argv[3]
    limits = Limits(bytes=int(sys.argv[4]), memory=int(sys.argv[5]), seconds=float(sys.argv[6]))
    _limit(limits, written=limits.bytes if kind is Kind.ONNX else 0)  # onnxruntime takes large weights from a file
    try:
        file = blob.read(path, limits)
        if file.sha256 != sha256:
            return CHANGED
        _load(file, kind, limits)
    except MemoryError:
        return OUT_OF_MEMORY
    except BdscanError as refusal:
        return OUT_OF_MEMORY if was_lacking(refusal.__cause__) else 0
    return 0


def _load(file: blob.Blob, kind: Kind, limits: Limits) -> None:
    if kind is Kind.ONNX:
        onnx_file.read_and_convert(file, limits)  # which compares with onnxruntime, and so runs both
        return
    found, _ = weights(torch_file.load(file, torch_file.check(file, kind, limits)), file.path.name)
    if isinstance(found, nn.Module):
        check_tree(found, file.path.name)
        _try_forward(found)


def _try_forward(net: nn.Module) -> None:
    """One small image through the network; what matters is that it comes back, not what."""
    stem = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    height, width = image_size(net) or (64, 64)
    image = torch.zeros(1, stem.in_channels if stem else 3, height, width)
    try:
        with torch.no_grad():
            net.eval()(image)
    except torch_file.REFUSALS as error:
        if was_lacking(error):
            raise MemoryError from error


def _limit(limits: Limits, *, written: int) -> None:
    """Memory on top of what the libraries took, CPU seconds, no core dump, no more bytes in files than `written`."""
    wanted = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": written, "RLIMIT_CPU": int(limits.seconds * 4)}
    if bounds_memory():
        wanted["RLIMIT_AS"] = address_space() + limits.memory
    bound(wanted, for_good=True)


if __name__ == "__main__":
    sys.exit(main())
