"""`load`: what the user names → a `Checkpoint`."""

from __future__ import annotations

from pathlib import Path

from modelscan_bd.errors import UsageError
from modelscan_bd.loading import blob, folder, hub, onnx_file, torch_file
from modelscan_bd.loading.assemble import from_module, from_tensors
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.metadata import Said, from_safetensors
from modelscan_bd.loading.rehearsal import rehearse
from modelscan_bd.loading.safetensors_file import load as load_safetensors
from modelscan_bd.loading.sniff import Kind, kind_of
from modelscan_bd.loading.state_dict import weights as find_weights
from modelscan_bd.types import Checkpoint, FileFormat

_LIBRARIES = ("timm:", "torchvision:")


def load(
    target: str, *, arch: str | None = None, weights: Path | None = None, limits: Limits | None = None
) -> Checkpoint:
    """The network that `target` names: a file, a folder with config.json and weights, `timm:NAME` or
    `torchvision:NAME` with its `weights` file, or `hf-hub:NAME`.

    `arch` names the architecture of a bare state dict and binds; without it the tensors decide.

    Raises UsageError (what was asked for does not exist or is not decided), UnreadableModel (broken, or lies about
    itself), UnsupportedModel (understood, and not to be measured), UnsafeModel (wants its loader to run code).
    """
    limits = limits or Limits()
    if target.startswith(_LIBRARIES):
        if weights is None:
            raise UsageError(
                f"{target} names an architecture, not its weights", remedy="Give them with --weights FILE."
            )
        return _load_file(weights, Said(), arch or target, limits)
    if weights is not None:
        raise UsageError(f"--weights goes with timm:NAME or torchvision:NAME, not with {target}")
    path = hub.fetch(target) if target.startswith(hub.HUB) else Path(target)
    if path.is_dir():
        path, said = folder.weights_in(path, limits)
        return _load_file(path, said, arch, limits)
    return _load_file(path, Said(), arch, limits)


def _load_file(path: Path, said: Said, arch: str | None, limits: Limits) -> Checkpoint:
    file = blob.read(path, limits)
    kind = kind_of(path.name, file.data)
    if kind is Kind.SAFETENSORS:
        read = load_safetensors(file)
        told = said.completed_by(from_safetensors(read.metadata))
        found, notes = find_weights(read.tensors, path.name)
        return from_tensors(found, file=file, form=FileFormat.SAFETENSORS, arch=arch, said=told, notes=notes)
    if kind is Kind.ONNX:
        return onnx_file.load(file, arch, limits)
    return _load_torch(file, kind, said, arch, limits)


def _load_torch(file: Blob, kind: Kind, said: Said, arch: str | None, limits: Limits) -> Checkpoint:
    names = torch_file.check(file, kind, limits)
    notes = rehearse(file, kind, limits)
    found, more = find_weights(torch_file.load(file, names), file.path.name)
    if isinstance(found, dict):
        form = FileFormat.STATE_DICT
        return from_tensors(found, file=file, form=form, arch=arch, said=said, notes=(*notes, *more))
    return from_module(found, file=file, arch=arch, notes=(*notes, *more))
