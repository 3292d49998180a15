"""Resampling of pictures. Every mode of Resize is a small matrix per axis: one differentiable path for all."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.onnx_engine.ops.kinds import Numbers, Table

_LARGEST: Final = 2**26  # elements of one axis's matrix: from and to 8192 pixels


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How positions of the result are mapped back, and how values between two of the input are made."""

    mode: str
    position: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool


def resize(
    x: Tensor,
    roi: Numbers | None = None,
    scales: Numbers | None = None,
    sizes: Numbers | None = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """ONNX Resize, with the formulas of its specification."""
    which = tuple(a % x.dim() for a in axes) if axes is not None else tuple(range(x.dim()))
    target = _target(tuple(x.shape[a] for a in which), scales, sizes, keep_aspect_ratio_policy)
    how = Sampling(
        mode=mode,
        position=coordinate_transformation_mode,
        nearest=nearest_mode,
        cubic=cubic_coeff_a,
        antialias=bool(antialias),
        exclude_outside=bool(exclude_outside),
    )
    y = x
    for i, (axis, (size, scale)) in enumerate(zip(which, target, strict=True)):
        window = (roi[i], roi[i + len(which)]) if roi and how.position == "tf_crop_and_resize" else None
        if size != x.shape[axis] or scale != 1 or window is not None:
            y = _along(y, axis, size, scale, window, how, extrapolation_value)
    return y


def _target(
    sizes: tuple[int, ...], scales: Numbers | None, wanted: Numbers | None, policy: str
) -> list[tuple[int, float]]:
    """(size, scale) of each resized axis."""
    if scales:
        return [(math.floor(s * scale), float(scale)) for s, scale in zip(sizes, scales, strict=True)]
    if not wanted:
        raise UnsupportedModel("a Resize has neither scales nor sizes")
    factors = [w / s for w, s in zip(wanted, sizes, strict=True)]
    if policy == "stretch":
        return [(int(w), f) for w, f in zip(wanted, factors, strict=True)]
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [(math.floor(factor * s + 0.5), factor) for s in sizes]


def _along(
    x: Tensor, axis: int, size: int, scale: float, window: tuple[float, float] | None, how: Sampling, outside: float
) -> Tensor:
    if x.shape[axis] * size > _LARGEST:
        raise UnsupportedModel(f"a Resize from {x.shape[axis]} to {size} pixels is larger than bdscan computes")
    places = _places(x.shape[axis], size, scale, window, how.position).float().double()  # as exact as scales are
    weights = _weights(places, x.shape[axis], scale, how)
    if how.mode == "nearest":
        y = x.index_select(axis, weights.argmax(1).to(x.device))
    else:
        matrix = weights.to(x.device, x.dtype if x.is_floating_point() else torch.float64)
        y = (x.movedim(axis, -1).to(matrix.dtype) @ matrix.T).movedim(-1, axis).to(x.dtype)
    if window is None:
        return y
    beyond = ((places < 0) | (places > x.shape[axis] - 1)).to(x.device)
    return torch.where(beyond.view([-1 if i == axis else 1 for i in range(x.dim())]), outside, y)


def _places(size: int, result: int, scale: float, window: tuple[float, float] | None, position: str) -> Tensor:
    """Where each index of the result lies along the input, in input pixels."""
    at = torch.arange(result, dtype=torch.float64)
    length = scale * size  # the specification's real-valued size of the result
    if position == "align_corners":
        return at * 0 if length == 1 else at * (size - 1) / (length - 1)
    if position == "asymmetric":
        return at / scale
    if position == "tf_crop_and_resize" and window is not None:
        start, end = window
        inner = (end - start) * (size - 1)
        return start * (size - 1) + (at * 0 + inner / 2 if length == 1 else at * inner / (length - 1))
    if position == "pytorch_half_pixel" and length == 1:
        return at * 0 - 0.5
    shift = size / 2 * (1 - result / length) if position == "half_pixel_symmetric" else 0.0
    if position not in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        raise UnsupportedModel(f"Resize with coordinates '{position}' is not known")
    return shift + (at + 0.5) / scale - 0.5


def _weights(places: Tensor, size: int, scale: float, how: Sampling) -> Tensor:
    """(result, size): what each input position adds to each of the result's."""
    base = torch.ceil(places) - 1  # the left neighbour; a place on a pixel counts as that pixel's right edge
    ratio = places - base
    offsets, factors = _taps(ratio, scale, how)
    index = base.unsqueeze(1) + offsets
    if how.exclude_outside:
        factors = torch.where((index < 0) | (index > size - 1), 0.0, factors)
        factors = factors / factors.sum(1, keepdim=True)
    inside = index.clamp(0, size - 1).to(torch.int64)
    return torch.zeros(len(places), size, dtype=torch.float64).scatter_add(1, inside, factors)


def _taps(ratio: Tensor, scale: float, how: Sampling) -> tuple[Tensor, Tensor]:
    """Offsets (t,) from the left neighbour and the weight (result, t) of each; ratios are in (0, 1]."""
    if how.mode == "nearest":
        right = _takes_right(ratio, how.nearest)
        return torch.tensor([0.0, 1.0]), torch.stack([~right, right], 1).double()
    reach = {"linear": 1, "cubic": 2}.get(how.mode)
    if reach is None:
        raise UnsupportedModel(f"Resize in mode '{how.mode}' is not known")
    shrink = min(scale, 1.0) if how.antialias else 1.0
    first = math.floor(-reach / shrink) + 1
    offsets = torch.arange(first, 2 - first, dtype=torch.float64)
    away = ((offsets - ratio.unsqueeze(1)) * shrink).abs()
    kernel: Callable[[Tensor], Tensor] = _tent if reach == 1 else functools.partial(_cubic, a=how.cubic)
    factors = kernel(away)
    return offsets, factors / factors.sum(1, keepdim=True) if how.antialias else factors


def _takes_right(ratio: Tensor, rule: str) -> Tensor:
    if rule == "floor":
        return ratio == 1
    if rule == "ceil":
        return ratio > 0
    return ratio > 0.5 if rule == "round_prefer_floor" else ratio >= 0.5


def _tent(away: Tensor) -> Tensor:
    return (1 - away).clamp(0, 1)


def _cubic(away: Tensor, a: float) -> Tensor:
    """Keys 1981: the cubic convolution kernel with parameter `a`."""
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    far = ((away - 5) * away + 8) * away * a - 4 * a
    return torch.where(away <= 1, near, torch.where(away < 2, far, 0.0))


def upsample(x: Tensor, scales: Numbers, *, mode: str = "nearest") -> Tensor:
    """Resize's forerunner, up to opset 9."""
    return resize(x, None, scales, coordinate_transformation_mode="asymmetric", mode=mode, nearest_mode="floor")


def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return F.grid_sample(x, grid, names.get(mode, mode), padding_mode, bool(align_corners))


def affine_grid(theta: Tensor, size: Numbers, *, align_corners: int = 0) -> Tensor:
    return F.affine_grid(theta, [int(s) for s in size], bool(align_corners))


OPERATORS: Final[Table] = {
    "AffineGrid": affine_grid,
    "GridSample": grid_sample,
    "Resize": resize,
    "Upsample": upsample,
}
