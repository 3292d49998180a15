"""How a kernel says, by its signature alone, what it wants of an ONNX node.

A kernel is a plain function of torch tensors. Positional parameters are the node's inputs, in order; keyword-only
ones are its attributes, by ONNX name and with ONNX's default. A parameter annotated `Ints`, `Numbers` or `Scalar`
wants Python numbers: the engine computes them at load time wherever it can, so that shapes are not tensors when the
net runs.
The keyword `outputs` is given the number of outputs the node names; `input_dtype` its first input's element type.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import UnionType
from typing import Annotated, TypeAlias, Union

import torch
from torch import Tensor


class Kind(Enum):
    TENSOR = auto()
    NUMBERS = auto()
    SCALAR = auto()


Number: TypeAlias = int | float | bool
Ints: TypeAlias = Annotated[tuple[int, ...], Kind.NUMBERS]
Numbers: TypeAlias = Annotated[tuple[Number, ...], Kind.NUMBERS]
Scalar: TypeAlias = Annotated[Number, Kind.SCALAR]
Kernel: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...]]
Table: TypeAlias = Mapping[str, Kernel]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs a kernel takes, the kind of those beyond (None: no more), and its attributes."""

    inputs: tuple[Kind, ...]
    rest: Kind | None
    attributes: frozenset[str]


@functools.cache
def signature(kernel: Kernel) -> Signature:
    """What `kernel` declares; torch's own built-in functions take tensors only."""
    try:
        parameters = inspect.signature(kernel).parameters.values()
        hints = typing.get_type_hints(kernel, include_extras=True)
    except (ValueError, TypeError):
        return Signature(inputs=(), rest=Kind.TENSOR, attributes=frozenset())
    by = inspect.Parameter
    return Signature(
        inputs=tuple(_kind(hints[p.name]) for p in parameters if p.kind is by.POSITIONAL_OR_KEYWORD),
        rest=next((Kind.TENSOR for p in parameters if p.kind is by.VAR_POSITIONAL), None),
        attributes=frozenset(p.name for p in parameters if p.kind is by.KEYWORD_ONLY),
    )


def _kind(hint: object) -> Kind:
    for part in (hint, *typing.get_args(hint)) if typing.get_origin(hint) in (Union, UnionType) else (hint,):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, Kind):
                return note
    return Kind.TENSOR


def numbers_of(tensor: Tensor) -> tuple[Number, ...]:
    """For shapes and the like that are only known when the net runs."""
    return tuple(tensor.flatten().tolist())


def scalar_of(tensor: Tensor) -> Number:
    """For single numbers that are only known when the net runs."""
    return tensor.reshape(()).item()


def is_float(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16)
