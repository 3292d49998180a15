"""Picking elements out and putting them in."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.ops.kinds import Ints, Scalar, Table
from modelscan_bd.onnx_engine.tensors import dtype_of


def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis %= x.dim()
    where = torch.where(indices < 0, indices + x.shape[axis], indices).to(torch.int64)
    picked = x.index_select(axis, where.flatten())
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    where = torch.where(indices < 0, indices + x.shape[axis], indices).to(torch.int64)
    return x.gather(axis, where)


def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    b = batch_dims
    front = indices.shape[:b].numel()
    data = x.reshape(front, *x.shape[b:])
    where = indices.to(torch.int64).reshape(front, -1, indices.shape[-1])
    rows = torch.arange(front, device=x.device).view(-1, 1).expand(-1, where.shape[1])
    picked = data[(rows, *where.unbind(-1))]
    return picked.reshape((*indices.shape[:-1], *x.shape[b + indices.shape[-1] :]))


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    where = indices.to(torch.int64).unbind(-1)
    if reduction in ("none", "add"):
        return x.clone().index_put(where, updates, accumulate=reduction == "add")
    depth = indices.shape[-1]
    inner = x.shape[depth:].numel()
    flat = torch.zeros_like(where[0])
    for part, extent in zip(where, x.shape[:depth], strict=True):
        flat = flat * extent + torch.where(part < 0, part + extent, part)
    rows = flat.reshape(-1, 1).expand(-1, inner)
    return x.reshape(-1, inner).scatter_reduce(0, rows, updates.reshape(-1, inner), _reduce(reduction)).reshape(x.shape)


def scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    where = torch.where(indices < 0, indices + x.shape[axis], indices).to(torch.int64)
    if reduction == "none":
        return x.scatter(axis, where, updates)
    return x.scatter_reduce(axis, where, updates, _reduce(reduction))


def _reduce(reduction: str) -> str:
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    if reduction not in names:
        raise UnsupportedModel(f"a scatter that reduces by '{reduction}' is not known")
    return names[reduction]


def top_k(x: Tensor, k: Ints, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    """Among equals the lower index comes first, as ONNX asks; torch.topk does not promise that."""
    del sorted
    order = torch.sort(x, stable=True, dim=axis, descending=bool(largest)).indices.narrow(axis, 0, int(k[0]))
    return x.gather(axis, order), order


def one_hot(indices: Tensor, depth: Scalar, values: Tensor, *, axis: int = -1) -> Tensor:
    axis %= indices.dim() + 1
    size = int(depth)
    where = indices.to(torch.int64)
    where = torch.where(where < 0, where + size, where)
    marks = where.unsqueeze(axis) == torch.arange(size, device=where.device).view(-1, *(1,) * (indices.dim() - axis))
    return torch.where(marks, values[1], values[0])


def non_zero(x: Tensor) -> Tensor:
    return x.nonzero().T


def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    data, along = (x.flatten(), 0) if axis is None else (x, axis)
    return data.index_select(along, condition.nonzero().flatten())


def trilu(x: Tensor, k: Scalar | None = None, *, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return x.triu(diagonal) if upper else x.tril(diagonal)


def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    ones = torch.ones_like(x, dtype=x.dtype if dtype is None else dtype_of(dtype))
    return ones.triu(k).tril(k)


OPERATORS: Final[Table] = {
    "Compress": compress,
    "EyeLike": eye_like,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "NonZero": non_zero,
    "OneHot": one_hot,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TopK": top_k,
    "Trilu": trilu,
}

DATA_DEPENDENT: Final = frozenset({"Compress", "NonZero"})  # their result's shape depends on their input's values
