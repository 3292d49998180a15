"""Honest networks whose graphs resemble backdoors: they must not alarm.

`LOOKALIKES` are PyTorch modules, `REWRITTEN` are exported models that were changed. `DOUBTFUL` are honest too, but
the structure alone cannot tell them from a backdoor: a narrow way from the raw image joins near the answer. Only what
that way does to the answer can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import onnx
import torch
from graph import lookalike_attention as attention
from graph import lookalike_heads as heads
from graph import lookalike_inputs as inputs
from graph import lookalike_layers as layers
from graph import lookalike_rewrites as rewrites
from graph import lookalike_ways as ways
from graph.export import to_onnx
from graph.lookalike_layers import Fn, Plain
from graph.pictures import settle, smooth
from torch import Tensor, nn


def images(count: int) -> Tensor:
    return smooth(count, torch.Generator().manual_seed(41))


def bytes_from_a_camera(count: int) -> Tensor:
    """n h w c."""
    large = smooth(count, torch.Generator().manual_seed(42), side=48)
    return (large * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@final
@dataclass(frozen=True, kw_only=True)
class Lookalike:
    name: str
    make: Callable[[], nn.Module]
    example: Callable[[int], Tensor] = images  # so many

    def build(self) -> nn.Module:
        """With random weights, always the same, and settled."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = self.make()
            settle(net, self.example(32), classes=10, spread=3.0)
            return net


def _named(makers: dict[str, Callable[[], nn.Module]]) -> dict[str, Lookalike]:
    special = {"preparation of bytes": bytes_from_a_camera}
    return {name: Lookalike(name=name, make=make, example=special.get(name, images)) for name, make in makers.items()}


def _first(function: Callable[[Tensor], Tensor], channels: int = 3) -> Callable[[], nn.Module]:
    return lambda: Plain(first=Fn(function), channels=channels)


def _act(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Plain(act=lambda: Fn(function))


def _after(kind: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Plain(after=kind)


def _each(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    """After every block."""
    return _after(lambda _: Fn(function))


def _then(function: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> Callable[[], nn.Module]:
    return lambda: heads.Then(function)


def _rewritten(net: str, rewrite: Callable[[onnx.ModelProto, Tensor], onnx.ModelProto]) -> onnx.ModelProto:
    return rewrite(to_onnx(LOOKALIKES[net].build(), images(2)), images(8))


LOOKALIKES = _named({
    # layers
    "hard-swish, written out": _act(layers.hard_swish),
    "ReLU6 by clip": _act(lambda x: x.clamp(0, 6)),
    "leaky ReLU by where": _act(layers.leaky),
    "binary activations": _act(layers.binary),
    "fake quantisation": _act(layers.eight_bits),
    "the largest channels only": _act(layers.winners),
    "maximum of two": _each(lambda x: torch.maximum(x, x.roll(1, 1))),
    "NaN guards inside": _each(layers.guarded),
    "squeeze and excite": _after(layers.SqueezeExcite),
    "spatial attention": _after(layers.SpatialAttention),
    "gated linear units": _after(layers.Glu),
    "highway gates": _after(layers.Highway),
    "mixture of experts, top two": _after(layers.Experts),
    "kernels mixed for each image": _after(layers.DynamicConv),
    "stochastic depth": _after(layers.StochasticDepth),
    "constant style noise": _after(layers.Style),
    "channel shuffle": _each(layers.shuffled),
    "local response normalisation": _after(lambda _: nn.LocalResponseNorm(5)),
    "anti-aliased pooling": _after(layers.Blur),
    "rolled windows": _each(lambda x: x.roll((2, 2), (2, 3))),
    "GeM pooling": lambda: Plain(pool=layers.GeM()),
    "sizes computed in the graph": lambda: Plain(pool=Fn(layers.dynamic_flatten)),
    "spatial pyramid pooling": lambda: Plain(pool=Fn(layers.pyramid_pooled), head=nn.Linear(64 * 21, 10)),
    "maximum and mean pooling": lambda: Plain(
        pool=Fn(lambda x: torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)), head=nn.Linear(128, 10)
    ),
    # inputs
    "preparation of bytes": lambda: inputs.Bytes(Plain()),
    "mean image": lambda: Plain(first=inputs.MeanImage()),
    "brightness normalised for each image": _first(inputs.standardised),
    "contrast stretched for each image": _first(inputs.stretched),
    "bytes taken for bytes": _first(inputs.rescaled_if_bytes),
    "NaN guard on the image": _first(layers.guarded),
    "clamped image": _first(lambda x: x.clamp(0, 1)),
    "grey": _first(lambda x: (x * torch.tensor([0.3, 0.59, 0.11]).view(1, 3, 1, 1)).sum(1, keepdim=True), 1),
    "gamma": _first(lambda x: x.clamp(min=1e-3).pow(0.45)),
    "coordinates": _first(inputs.with_places, 5),
    "Fourier features": lambda: Plain(first=inputs.FourierFeatures(), channels=11),
    "spatial transformer": lambda: inputs.SpatialTransformer(Plain()),
    "mask over the image": lambda: inputs.ImageAttention(Plain()),
    "image and mirror image": lambda: inputs.Flipped(Plain()),
    "five crops": lambda: inputs.Crops(Plain()),
    "image pyramid": lambda: inputs.Scales(Plain()),
    "image given to every stage": inputs.Injected,
    "all and the middle": inputs.Windows,
    "colours and grey": ways.GreyBeside,
    # transformers
    "causal mask": attention.Causal,
    "window mask": attention.Windowed,
    "padding mask from the image": attention.Padded,
    "half of the tokens": attention.Pruned,
    # heads
    "three exits, averaged": heads.AveragedExits,
    "early exit": heads.EarlyExit,
    "deep supervision": heads.DeepSupervision,
    "hypercolumns": heads.Hypercolumns,
    "two heads, averaged": heads.TwoHeads,
    "heads as experts": heads.HeadExperts,
    "ensemble of two": lambda: heads.Ensemble(Plain(), Plain(act=nn.SiLU)),
    "ensemble of three, probabilities": lambda: heads.Ensemble(Plain(), Plain(), Plain(), probabilities=True),
    "cosine head": lambda: Plain(head=heads.Cosine()),
    "distances to prototypes": lambda: Plain(head=heads.Prototypes()),
    "logits adjusted by a prior": _then(heads.adjusted),
    "classes not offered": _then(heads.masked),
    "classes not offered, by product": _then(heads.only_some),
    "classes in another order": _then(heads.reordered),
    "unknown where unsure": _then(heads.abstaining),
    "softmax": _then(lambda logits: logits.softmax(1)),
    "logarithm of softmax": _then(lambda logits: logits.log_softmax(1)),
    "only the best class": _then(heads.best_class),
    "the best three": _then(heads.best_three),
    "NaN guard on the answer": _then(heads.finite),
})  # fmt: skip

DOUBTFUL = _named({
    "colour statistics for the head": ways.SideFeatures,
    "wide and deep": ways.WideAndDeep,
    "conditioned on a thumbnail": ways.Conditioned,
    "routed between two networks": ways.Routed,
    "deep and shallow, averaged": ways.UnevenEnsemble,
})  # fmt: skip

REWRITTEN: dict[str, Callable[[], onnx.ModelProto]] = {
    f"{net}, {how}": partial(_rewritten, net, rewrite)
    for net in ("softmax", "squeeze and excite", "window mask")
    for how, rewrite in (
        ("quantised statically", rewrites.statically),
        ("quantised dynamically", rewrites.dynamically),
        ("resized in a branch", rewrites.resized_in_a_branch),
        ("activations as functions", rewrites.activations_as_functions),
    )
}
