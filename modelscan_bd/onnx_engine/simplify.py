"""Cheaper forms of a call whose operands turn out to be constant. Same values, fewer or plainer torch operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from modelscan_bd.onnx_engine.tensors import dtype_of
from modelscan_bd.onnx_engine.values import Call


def simplified(call: Call) -> Call:
    rule = _RULES.get(call.op)
    return call if rule is None or call.is_constant else rule(call)


def is_alias(call: Call) -> bool:
    """Whether the result is the first operand itself."""
    if call.op == "Identity" or (call.op == "Dropout" and call.attributes["outputs"] == 1):
        return True
    first = call.operands[0] if call.operands else None
    return call.op == "Cast" and first is not None and first.dtype == dtype_of(call.attributes["to"])


def select(x: Tensor, *, axis: int, index: int) -> Tensor:
    return x.select(axis, index)


def raise_to(x: Tensor, *, exponent: float) -> Tensor:
    return x * x if exponent == 2 else torch.pow(x, exponent)


def _gather(call: Call) -> Call:
    """One index is a selection, which is a view and has a plain gradient."""
    where = call.operands[1]
    if where is None or not where.is_constant or where.known is None or where.known[0].dim():
        return call
    chosen = {"axis": call.attributes.get("axis", 0), "index": int(where.known[0])}
    return dataclasses.replace(call, kernel=select, operands=call.operands[:1], attributes=chosen)


def _power(call: Call) -> Call:
    base, exponent = call.operands[0], call.operands[1]
    if base is None or base.dtype is None or not base.dtype.is_floating_point:
        return call
    if exponent is None or not exponent.is_constant or exponent.known is None or exponent.known[0].dim():
        return call
    number = {"exponent": float(exponent.known[0])}
    return dataclasses.replace(call, kernel=raise_to, operands=call.operands[:1], attributes=number)


_RULES: Final[Mapping[str, Callable[[Call], Call]]] = {"Gather": _gather, "Pow": _power}
