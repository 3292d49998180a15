"""Looks through a network that was unpickled: plain layers, plain tensors, plain attributes, and no code of its own.

The unpickler sets any attribute on any allowed object. A network whose `forward` is another network, or that keeps one
in a hook, loads without a complaint and computes something else than its classes say.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator, Mapping
from enum import Enum

import torch
from torch import Tensor, nn

from modelscan_bd.audit import names
from modelscan_bd.audit.names import Grade
from modelscan_bd.errors import UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.loading.layer_classes import layer
from modelscan_bd.loading.state_dict import plain

_MOST_MODULES, _DEEPEST = 10_000, 64
# a weak reference is never in a file: recurrent layers make theirs while they are loaded
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device, Enum, weakref.ref)


def check_tree(net: nn.Module, name: str) -> None:
    """Raises UnsafeModel for hooks and replaced methods, UnsupportedModel or UnreadableModel for other oddities."""
    for path, module in _modules(net, name):
        where = f"{name}, layer '{path}'"
        _check_class(type(module), where)
        for key, value in vars(module).items():
            _check_attribute(module, key, value, where)


def _modules(net: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """All layers, by the plainest walk; refuses networks that contain themselves."""
    stack: list[tuple[str, nn.Module, int]] = [("", net, 0)]
    for _ in range(_MOST_MODULES):
        if not stack:
            return
        path, module, depth = stack.pop()
        if depth > _DEEPEST:
            raise UnreadableModel(f"{name} nests its layers without end")
        yield path, module
        children = vars(module).get("_modules")
        if not isinstance(children, dict):
            raise UnreadableModel(f"{name}, layer '{path}' is incomplete")
        for key, child in children.items():
            if isinstance(child, nn.Module):
                stack.append((f"{path}.{key}".lstrip("."), child, depth + 1))
            elif child is not None:
                raise UnreadableModel(f"{name}, layer '{path}' has a {type(child).__name__} for a layer")
    raise UnreadableModel(f"{name} has more than {_MOST_MODULES} layers")


def _check_class(cls: type[nn.Module], where: str) -> None:
    full = f"{cls.__module__}.{cls.__qualname__}"
    if names.grade(full) is not Grade.LAYER or layer(full) is not cls:
        raise UnsupportedModel(f"{where} is a {full}; bdscan rebuilds only torch.nn, torchvision and timm classes")


def _check_attribute(module: nn.Module, key: str, value: object, where: str) -> None:
    if "hook" in key:
        if isinstance(value, (bool, type(None))) or (isinstance(value, (dict, set)) and not value):
            return
        raise UnsafeModel(f"{where} carries hooks, which run beside the network", remedy="Do not load this file.")
    if callable(getattr(type(module), key, None)) and value is not None:
        raise UnsafeModel(f"{where} replaces its method '{key}'", remedy="Do not load this file.")
    if key in ("_parameters", "_buffers"):
        _check_tensors(value, f"{where}, '{key}'")
    elif key != "_modules":
        _check_value(value, f"{where}, attribute '{key[:80]}'", 0)


def _check_tensors(held: object, where: str) -> None:
    if not isinstance(held, dict):
        raise UnreadableModel(f"{where} is no dictionary")
    for value in held.values():
        if isinstance(value, Tensor):
            plain(value, where)
        elif value is not None:
            raise UnreadableModel(f"{where} has a {type(value).__name__} for a tensor")


def _check_value(value: object, where: str, depth: int) -> None:
    if isinstance(value, _PLAIN) or _is_layer_class(value):
        return
    if depth > 8:
        raise UnreadableModel(f"{where} is nested without end")
    if isinstance(value, Tensor):
        plain(value, where)
    elif isinstance(value, functools.partial):
        _check_value(value.func, where, depth + 1)
        _check_value((value.args, value.keywords, vars(value)), where, depth + 1)
    elif type(value) in (list, tuple, set, frozenset):
        for part in value:  # type: ignore[attr-defined]
            _check_value(part, where, depth + 1)
    elif isinstance(value, Mapping):
        for part in (*value.keys(), *value.values()):
            _check_value(part, where, depth + 1)
    elif callable(value):
        raise UnsafeModel(f"{where} is a {type(value).__name__} that could be called", remedy="Do not load this file.")
    else:
        raise UnsupportedModel(f"{where} is a {type(value).__name__}, which bdscan does not rebuild")


def _is_layer_class(value: object) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, nn.Module)
        and (names.grade(full := f"{value.__module__}.{value.__qualname__}") is Grade.LAYER and layer(full) is value)
    )
