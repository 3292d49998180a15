"""Finds the weights inside what a checkpoint holds: nested dictionaries, and prefixes that wrappers leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from modelscan_bd.errors import UnreadableModel, UnsupportedModel

Tensors: TypeAlias = dict[str, Tensor]

_NESTS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params"),
    *("ema", "state_dict_ema", "model_ema", "ema_state_dict"),
)  # in the order in which they are believed
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "_forward_module.")
_DEEPEST = 4
_MOST_ELEMENTS = 2**31


def weights(held: object, name: str) -> tuple[nn.Module | Tensors, tuple[str, ...]]:
    """The network or the named tensors in a loaded checkpoint, and notes on what was left aside.

    Raises UnsupportedModel where there are none, UnreadableModel for tensors that are not dense numbers.
    """
    notes: list[str] = []
    for _ in range(_DEEPEST):
        if isinstance(held, nn.Module):
            return held, tuple(notes)
        if not isinstance(held, Mapping):
            break
        tensors = {key: value for key, value in held.items() if isinstance(value, Tensor) and isinstance(key, str)}
        nests = [key for key in _NESTS if isinstance(held.get(key), (Mapping, nn.Module))]
        if nests and len(tensors) < len(held) - len(tensors):
            held = held[nests[0]]
            notes += _note(nests, notes)
        elif tensors:
            return {key: plain(tensor, f"{name}: '{key[:80]}'") for key, tensor in tensors.items()}, tuple(notes)
        else:
            break
    what = f"a {type(held).__name__}" + (f" with {_shown(held)}" if isinstance(held, Mapping) else "")
    raise UnsupportedModel(f"{name} holds {what}, and no weights", remedy="Save the network's state_dict.")


def stripped(tensors: Tensors) -> Iterator[Tensors]:
    """The tensors under their own names, then without each wrapper's prefix that all of them share."""
    yield tensors
    while prefix := _shared_prefix(tensors):
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        yield tensors


def plain(tensor: Tensor, where: str) -> Tensor:
    """The tensor as dense numbers on the CPU, floats as float32. Raises UnreadableModel for anything else."""
    dense = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not dense or tensor.is_quantized or tensor.is_complex() or tensor.numel() > _MOST_ELEMENTS:
        raise UnreadableModel(f"{where} is no plain dense tensor of numbers")
    if tensor._backward_hooks:
        raise UnreadableModel(f"{where} carries hooks")
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _shared_prefix(tensors: Tensors) -> str | None:
    """A wrapper's prefix on all names, or on all but those of a loss or a metric, as Lightning keeps them."""
    for prefix in _WRAPPERS:
        outside = [key for key in tensors if not key.startswith(prefix)]
        if len(outside) < len(tensors) and all(_is_training_aid(key) for key in outside):
            return prefix
    return None


def _is_training_aid(key: str) -> bool:
    return key.split(".", 1)[0].lower() in {"loss", "loss_fn", "criterion", "metric", "metrics", "n_averaged"} or (
        "metric" in key or "accuracy" in key or key.startswith(("train_", "val_", "test_"))
    )


def _note(nests: list[str], earlier: list[str]) -> list[str]:
    if len(nests) > 1 and not earlier:
        return [f"The checkpoint holds {', '.join(map(repr, nests))}; '{nests[0]}' was scanned."]
    return []


def _shown(held: Mapping[object, object]) -> str:
    keys = [str(key)[:40] for key in list(held)[:5]]
    return ", ".join(map(repr, keys)) or "nothing in it"
