"""Element by element: arithmetic, comparison, logic."""

from __future__ import annotations

import functools
from typing import Final

import torch
from torch import Tensor

from modelscan_bd.onnx_engine.ops.kinds import Scalar, Table, is_float


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    return a / b if is_float(a) else torch.div(a, b, rounding_mode="trunc")


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """The result has the base's type, whatever the exponent's."""
    return torch.pow(base, exponent).to(base.dtype)


def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def maximum(*xs: Tensor) -> Tensor:
    return functools.reduce(torch.maximum, xs)


def minimum(*xs: Tensor) -> Tensor:
    return functools.reduce(torch.minimum, xs)


def total(*xs: Tensor) -> Tensor:
    return functools.reduce(torch.add, xs)


def mean(*xs: Tensor) -> Tensor:
    return total(*xs) / len(xs)


def clip(x: Tensor, low: Scalar | None = None, high: Scalar | None = None) -> Tensor:
    """Where the bounds are in the wrong order the upper one wins, as in ONNX."""
    return x.clone() if low is None and high is None else torch.clamp(x, low, high)


def is_infinite(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    return (torch.isposinf(x) & bool(detect_positive)) | (torch.isneginf(x) & bool(detect_negative))


def invert(x: Tensor) -> Tensor:
    return torch.logical_not(x)


def bit_shift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    wide_a, wide_b = a.to(torch.int64), b.to(torch.int64)
    shifted = wide_a << wide_b if direction == "LEFT" else wide_a >> wide_b
    return shifted.to(a.dtype)


OPERATORS: Final[Table] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitShift": bit_shift,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseNot": torch.bitwise_not,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Ceil": torch.ceil,
    "Clip": clip,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Div": divide,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "IsInf": is_infinite,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Max": maximum,
    "Mean": mean,
    "Min": minimum,
    "Mod": modulo,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": invert,
    "Or": torch.logical_or,
    "Pow": power,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Sum": total,
    "Tan": torch.tan,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}
