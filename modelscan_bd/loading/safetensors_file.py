"""safetensors: the header's rules are checked in full before the library reads the tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import safetensors
import safetensors.torch
from torch import Tensor

from modelscan_bd.audit.fault import refuse
from modelscan_bd.audit.safetensors import faults, header
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.loading.blob import Blob


@final
@dataclass(frozen=True, kw_only=True)
class SafeFile:
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def load(blob: Blob) -> SafeFile:
    """Raises UnreadableModel where the header breaks a rule, UnsupportedModel for element types torch lacks."""
    name = blob.path.name
    checked = header(blob.data, name)
    refuse(faults(checked, name, len(blob.data)))
    try:
        return SafeFile(tensors=safetensors.torch.load(blob.data), metadata=checked.metadata)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UnreadableModel(f"{name} is a damaged safetensors file ({str(error)[:120]})") from error
