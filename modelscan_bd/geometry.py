"""What a network takes and gives: the input's shape and layout, the number of classes, logits or probabilities.

A file rarely says all of it. What neither a flag nor the file states is asked of the network: shapes are tried until
one runs, and the outputs are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from modelscan_bd.classifier import first_tensor
from modelscan_bd.errors import CannotMeasure, UnsupportedModel
from modelscan_bd.types import Hints, Layout, Logits, Output, Shape

_SMALL = (32, 28, 64, 96, 128)
_LARGE = (224, 256, 299, 240, 288, 384, 448, 160, 192)
_REFUSALS = (RuntimeError, ValueError, AssertionError, IndexError, TypeError)
_FEATURE_WIDTH = 16  # never-negative outputs at least this many look like pooled features rather than classes


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The outside of a network. `doubt` is a sentence where its input size is a guess among several that run."""

    shape: Shape
    layout: Layout
    classes: int
    output: Output
    doubt: str = ""


def survey(net: nn.Module, hints: Hints, *, natural: tuple[int, int] | None, rng: Generator) -> Geometry:
    """Tries shapes in order of likelihood until one gives class scores. `natural` is the size of the user's images.

    Raises UnsupportedModel where none runs, or what comes out is not one score per class.
    """
    refused: list[str] = []
    for shape, layout in candidates(net, hints, natural=natural):
        scores = _scores(net, shape, layout, refused)
        if scores is not None:
            stated = hints.size is not None or natural == shape[1:]
            return Geometry(
                shape=shape,
                layout=layout,
                classes=scores.shape[1],
                output=_kind(net, shape, layout, rng),
                doubt="" if stated else _size_doubt(net, shape, layout),
            )
    raise UnsupportedModel(refused[0] if refused else "no input shape is left to try")


def candidates(net: nn.Module, hints: Hints, *, natural: tuple[int, int] | None) -> Iterator[tuple[Shape, Layout]]:
    """Shapes and layouts, the likeliest first: what is stated, the user's images, then usual sizes."""
    layouts = (hints.layout,) if hints.layout else (Layout.NCHW, Layout.NHWC)
    for layout in layouts:
        for c in (hints.channels,) if hints.channels else _channels(net):
            for h, w in (hints.size,) if hints.size else _sizes(net, c, natural):
                yield (c, h, w), layout


def run(net: nn.Module, pixels: Float[Tensor, "n c h w"], layout: Layout) -> Tensor:
    """The network's first output for its own kind of input, without gradients."""
    with torch.no_grad():
        return first_tensor(net(pixels.permute(0, 2, 3, 1) if layout is Layout.NHWC else pixels))


def _channels(net: nn.Module) -> tuple[int, ...]:
    """The first convolution's channels, then the usual ones; a first linear layer tells by its size."""
    first = _first_weighted(net)
    if isinstance(first, nn.Conv2d):
        return tuple(dict.fromkeys((first.in_channels, 3, 1)))
    if isinstance(first, nn.Linear):
        return tuple(c for c in (3, 1, 4) if _square_side(first.in_features, c)) or (3, 1)
    return 3, 1


def _sizes(net: nn.Module, c: int, natural: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    if natural:
        yield natural
    first = _first_weighted(net)
    if isinstance(first, nn.Linear) and (side := _square_side(first.in_features, c)):
        yield side, side
    coarse = isinstance(first, nn.Conv2d) and max(first.stride) > 1
    ordered = (*_LARGE, *_SMALL) if coarse else (*((28,) if c == 1 else ()), *_SMALL, *_LARGE)
    yield from ((side, side) for side in ordered)


def _first_weighted(net: nn.Module) -> nn.Conv2d | nn.Linear | None:
    return next((module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))), None)


def _square_side(features: int, c: int) -> int | None:
    side = math.isqrt(features // c)
    return side if side * side * c == features else None


def _scores(net: nn.Module, shape: Shape, layout: Layout, refused: list[str]) -> Logits | None:
    """The outputs for two grey images, (2, k), or None with the reason added to `refused`."""
    try:
        output = run(net, torch.full((2, *shape), 0.5), layout)
    except CannotMeasure as why:
        refused.insert(0, str(why))
        return None
    except _REFUSALS as why:
        first_line = (str(why).splitlines() or [type(why).__name__])[0]
        refused.append(f"the network runs on no input shape that was tried; the last one ended in: {first_line}")
        return None
    if (sentence := _not_a_classifier(output)) is not None:
        refused.insert(0, sentence)
        return None
    return output.flatten(1)


def _not_a_classifier(output: Tensor) -> str | None:
    each = tuple(output.shape[1:])
    if output.ndim == 0 or len(output) != 2:
        return "the network does not return one row for each image, as a detector does; bdscan scans classifiers"
    if not output.is_floating_point():
        return "the network returns class numbers instead of class scores; export it without its arg-max"
    if math.prod(each) == 1:
        return (
            "the network returns a single number for each image (a regressor, or two classes behind one sigmoid); "
            "bdscan needs one score for each class"
        )
    if math.prod(each[1:]) != 1:
        return f"the network returns {each} numbers for each image, as a segmenter does; bdscan scans classifiers"
    return None


def _kind(net: nn.Module, shape: Shape, layout: Layout, rng: Generator) -> Output:
    """Probabilities are never negative and sum to one on whatever goes in. Raises UnsupportedModel for embeddings."""
    noise = torch.randn(4, *shape, generator=rng)
    rows = torch.cat([run(net, scale * noise, layout).flatten(1) for scale in (0.3, 3.0, 100.0)])
    rows = rows[rows.isfinite().all(1)]
    if len(rows) == 0:
        return Output.LOGITS  # preflight says that nothing finite comes out
    if bool((rows >= 0).all()) and _all_one(rows.sum(1)):
        return Output.PROBABILITIES
    if rows.shape[1] >= _FEATURE_WIDTH and _all_one(rows.norm(dim=1)):
        raise UnsupportedModel("the network returns vectors of length one: an embedding, not class scores")
    if bool((rows >= 0).all() & (rows <= 1).all()) and bool(rows.any()):
        raise UnsupportedModel(
            "every output lies in [0, 1] but they do not sum to one: independent sigmoids, not one class of several",
            remedy="Export the network without its sigmoid.",
        )
    if rows.shape[1] >= _FEATURE_WIDTH and bool((rows >= 0).all()) and bool(rows.any()):
        raise UnsupportedModel(
            "no output is ever negative: pooled features of a network without its classification head",
            remedy="Export the network with its head.",
        )
    return Output.LOGITS


def _all_one(sums: Float[Tensor, " n"]) -> bool:
    return torch.allclose(sums, torch.ones_like(sums), atol=2e-3)


def _size_doubt(net: nn.Module, shape: Shape, layout: Layout) -> str:
    """A sentence if a much larger or smaller input runs as well, so that the size chosen is only the likeliest."""
    c, h, w = shape
    others = ((c, 2 * h, 2 * w), (c, h // 2, w // 2))
    if not any(_scores(net, other, layout, []) is not None for other in others):
        return ""
    return f"the input size of {h} x {w} was guessed, as the network runs at others too (--input-size)"
