"""Smooth stand-ins for steps through which no gradient passes, or hardly any.

A truth becomes a number from 0 to 1. How smooth a step is, is measured by the numbers that reach it: at temperature 1
even the farthest from the step still feels it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-12
_LEAK = 0.1


def _scale(difference: Tensor, temperature: float) -> Tensor:
    return difference.detach().abs().mean() * temperature + _TINY


def _above(temperature: float, a: Any, b: Any, **_: Any) -> Tensor:
    difference = torch.as_tensor(a - b, dtype=torch.float32)
    return torch.sigmoid(difference / _scale(difference, temperature))


def _below(temperature: float, a: Any, b: Any, **_: Any) -> Tensor:
    return _above(temperature, -_number(a), -_number(b))


def _same(temperature: float, a: Any, b: Any, **_: Any) -> Tensor:
    difference = torch.as_tensor(_number(a) - _number(b), dtype=torch.float32)
    return torch.exp(-difference.abs() / _scale(difference, temperature))


def _other(temperature: float, a: Any, b: Any, **_: Any) -> Tensor:
    return 1 - _same(temperature, a, b)


def _both(_: float, a: Tensor, b: Tensor) -> Any:
    return _number(a) * _number(b)


def _either(_: float, a: Tensor, b: Tensor) -> Any:
    return 1 - (1 - _number(a)) * (1 - _number(b))


def _opposite(_: float, a: Tensor) -> Any:
    return 1 - _number(a)


def _where(_: float, condition: Tensor, a: Any, b: Any) -> Any:
    share = _number(condition)
    return share * a + (1 - share) * b


def _all(_: float, a: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    return _among(torch.amin, _number(a), *dims, **kwargs)


def _any(_: float, a: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    return _among(torch.amax, _number(a), *dims, **kwargs)


def _least(_: float, a: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    return _among(torch.amin, a, *dims, **kwargs)


def _most(_: float, a: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    return _among(torch.amax, a, *dims, **kwargs)


def _among(extreme: Callable[..., Tensor], a: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    """Half the extreme and half the mean, so that every number has a say."""
    given = [list(d) if isinstance(d, (list, tuple)) else d for d in dims]
    if not given and "dim" not in kwargs:
        return (extreme(a) + a.mean()) / 2
    axes = given[0] if given else kwargs["dim"]
    keep = bool(given[1]) if len(given) > 1 else bool(kwargs.get("keepdim", False))
    axes = axes if axes != [] else list(range(a.ndim))
    return (extreme(a, axes, keepdim=keep) + a.mean(axes, keepdim=keep)) / 2


def _straight(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def step(_: float, a: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ARG001
        return a + (function(a) - a).detach()

    return step


def _remainder(_: float, a: Tensor, b: Any) -> Any:
    return _number(a) - torch.as_tensor(b) * torch.floor(_number(a) / b).detach()


def _cast(_: float, a: Tensor, **kwargs: Any) -> Any:
    """To whole numbers as to fractions; to truths by what they are near."""
    if kwargs.get("dtype") is torch.bool:
        return _number(a).clamp(0, 1)
    whole = kwargs.get("dtype") is not None and not kwargs["dtype"].is_floating_point
    return a + (a.trunc() - a).detach() if whole and a.is_floating_point() else _number(a)


def _leaky(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def step(_: float, a: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        flat = function(a, *args, **kwargs)
        return flat + _LEAK * (a - flat)  # so that a maximum over dead numbers still has a largest

    return step


def _squash(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def step(temperature: float, a: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(a / _scale(a, temperature).clamp_min(1.0), *args, **kwargs)

    return step


def _power(_: float, a: Any, b: Any) -> Tensor:
    """A high power of something small has no slope worth the name."""
    if isinstance(b, (int, float)) and b > 2:
        return torch.as_tensor(a * abs(a) ** 0.5)
    return torch.pow(a, b)


def _number(a: Any) -> Any:
    return a.float() if isinstance(a, Tensor) and not a.is_floating_point() else a


SOFT: Final[Mapping[str, Callable[..., Any]]] = {
    "gt": _above,
    "ge": _above,
    "lt": _below,
    "le": _below,
    "eq": _same,
    "ne": _other,
    "logical_and": _both,
    "bitwise_and": _both,
    "__and__": _both,
    "logical_or": _either,
    "bitwise_or": _either,
    "__or__": _either,
    "logical_not": _opposite,
    "bitwise_not": _opposite,
    "where": _where,
    "all": _all,
    "any": _any,
    "amin": _least,
    "amax": _most,
    "round": _straight(torch.round),
    "floor": _straight(torch.floor),
    "ceil": _straight(torch.ceil),
    "trunc": _straight(torch.trunc),
    "sign": lambda temperature, a: torch.tanh(a / _scale(a, temperature)),
    "remainder": _remainder,
    "fmod": _remainder,
    "_to_copy": _cast,
    "relu": _leaky(torch.relu),
    "clamp": _leaky(torch.clamp),
    "clamp_min": _leaky(torch.clamp_min),
    "clamp_max": _leaky(torch.clamp_max),
    "hardtanh": _leaky(F.hardtanh),
    "threshold": _leaky(F.threshold),
    "sigmoid": _squash(torch.sigmoid),
    "tanh": _squash(torch.tanh),
    "_softmax": _squash(torch._softmax),
    "softmax": _squash(torch.softmax),
    "pow": _power,
}
