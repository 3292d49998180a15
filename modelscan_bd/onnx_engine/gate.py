"""The gate: no module leaves the engine that does not compute what onnxruntime computes, with gradients to match."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from modelscan_bd.onnx_engine.ops.shaping import cast
from modelscan_bd.onnx_engine.reference import Reference, in_parts

FLOAT, DOUBLE = 1, 11  # ONNX's numbers of the two types


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How near a module is to onnxruntime. `difference` is the largest of any logit, in units of the largest logit;
    `labels` the share of images with the same label; `gradient` the relative error of one directional derivative
    against a central difference, None where it was not measured. `images` were looked at, in batches of `batches`."""

    difference: float
    labels: float
    gradient: float | None
    images: int
    batches: tuple[int, ...]


def pictures(shape: Sequence[int], n: int, *, raw: bool, seed: int) -> Tensor:
    """Random images for a comparison, (n, ...): whole bytes for `raw`, else a smooth part plus noise about zero."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, *shape, generator=rng)
    return (
        (noise * 50 + 128).clamp(0, 255).round() if raw else noise + torch.randn(n, *(1 for _ in shape), generator=rng)
    )


def compare(
    module: nn.Module,
    reference: Reference,
    output: str,
    batches: Sequence[Tensor],
    fixed: int | None,
) -> Parity:
    """Runs both on the same images. `fixed`: the only batch size that the file itself can do."""
    ours, theirs = [], []
    for x in batches:
        with torch.no_grad():
            ours.append(module(x).float())
        parts = [x] if fixed is None else in_parts(x, fixed)
        theirs.append(torch.cat([reference.run(p, output) for p in parts])[: len(x)].float())
    if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        return Parity(difference=float("inf"), labels=0.0, gradient=None, images=0, batches=())
    a, b = torch.cat(ours).flatten(1), torch.cat(theirs).flatten(1)
    return Parity(
        difference=_difference(a, b),
        labels=float((a.argmax(1) == b.argmax(1)).float().mean()),
        gradient=None,
        images=len(a),
        batches=tuple(len(x) for x in batches),
    )


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest, in units of the largest finite number of `b`. Both may overflow, but at the same places."""
    finite = torch.isfinite(b)
    if not finite.any() or not torch.allclose(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    scale = b[finite].abs().max().clamp_min(1e-12)
    difference = float((a[finite] - b[finite]).abs().max() / scale)
    return difference if math.isfinite(difference) else float("inf")


def gradient_error(module: nn.Module, x: Tensor, *, seed: int = 0) -> float:
    """Relative error of autograd's derivative along a random direction, against a central difference.

    In double precision, on a copy. A kink of a piecewise linear layer between the two sides makes it larger than it
    is, so a large error is measured again with a smaller step. Infinite where no gradient reaches the input.
    """
    exact = in_double(module)
    rng = torch.Generator().manual_seed(seed)
    x = x.double().requires_grad_(True)
    direction = torch.randn(x.shape, generator=rng, dtype=torch.float64)
    logits = exact(x).flatten(1)
    weights = torch.randn(logits.shape, generator=rng, dtype=torch.float64)
    if not logits.requires_grad:
        return float("inf")
    (gradient,) = torch.autograd.grad((logits * weights).sum(), x, allow_unused=True)
    if gradient is None:
        return float("inf")
    along = float((gradient * direction).sum())
    error = _error(exact, x, direction, weights, along, 1e-5)
    return error if error < 1e-3 else min(error, _error(exact, x, direction, weights, along, 1e-7))


def _error(module: nn.Module, x: Tensor, direction: Tensor, weights: Tensor, along: float, step: float) -> float:
    """`x` requires a gradient, so that both sides are read as the gradient was: see `ops.quantised.rounding`."""
    step *= float(x.detach().abs().max().clamp_min(1.0))
    ahead, behind = (float((module(x + s * direction).detach().flatten(1) * weights).sum()) for s in (step, -step))
    slope = (ahead - behind) / (2 * step)
    floor = 1e-14 * max(abs(ahead), abs(behind)) / step  # what rounding alone can do
    return max(abs(slope - along) - floor, 0.0) / max(abs(slope), abs(along), 1e-30)


def in_double(module: nn.Module) -> nn.Module:
    """A copy that computes in double precision throughout, casts in the middle of the graph included."""
    exact = copy.deepcopy(module).double()
    for part in exact.modules():
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                if node.target is cast and node.kwargs.get("to") == FLOAT:
                    node.kwargs = {**node.kwargs, "to": DOUBLE}
            part.recompile()
    return exact
