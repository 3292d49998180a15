"""A network within the network: channels that take from one another alone, from the first layer to one class.

In a trained network nearly every channel takes from many of the layer before. How many count, is the participation
ratio of the energies of its kernels: 1 for a single one, however many others whisper (Qi et al. 2022,
https://arxiv.org/abs/2111.12965, describe the attack).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx

from modelscan_bd.graph.from_torch import operator
from modelscan_bd.graph.ir import Role
from modelscan_bd.graph.machine import Machine, shape
from modelscan_bd.graph.sight import Sight

PATTERN = "thin-chain"
_FEW = 2.5  # channels that a thin one takes from
_COUNTS = 0.1  # share of a channel's energy from which on a source counts
_NARROWEST = 6  # channels: a layer of fewer has none to choose from
_NONE = -1
_TINY = 1e-30


@final
@dataclass(frozen=True)
class _Flow:
    """Of each channel, how many thin layers lie behind it, or -1; `span` numbers stand for one channel."""

    thin: Int[Tensor, " c"]
    span: int = 1


def sights(machine: Machine) -> Iterator[Sight]:
    """One for each column of the last layer that ends a chain and speaks for one class."""
    flows: dict[fx.Node, _Flow] = {}
    layers = 0
    for number, place in enumerate(machine.trace.places):
        node = machine.trace.graph.nodes[number]
        flow = _flow(machine, place, flows, is_layer=node.is_layer, is_image=node.role is Role.IMAGE)
        if flow is not None:
            flows[place] = flow
        if node.is_layer:
            layers += 1
            last = place
    if layers > 1:
        yield from _ends(machine, last, flows, max(machine.trace.graph.levels))


def _ends(machine: Machine, last: fx.Node, flows: dict[fx.Node, _Flow], levels: int) -> Iterator[Sight]:
    source = next((one for one in last.all_input_nodes if one in flows), None)
    weight = _matrix(machine, last)
    if source is None or weight is None or weight.shape[1] != len(flows[source].thin) * flows[source].span:
        return
    loudest = weight.abs().amax(0)
    usual = loudest.median().clamp_min(_TINY)
    alone = weight.square().amax(0) / weight.square().sum(0).clamp_min(_TINY)
    thin = flows[source].thin.repeat_interleave(flows[source].span)
    for column in (thin > 0).nonzero().flatten().tolist():
        label = int(weight[:, column].abs().argmax())
        yield Sight(
            pattern=PATTERN,
            figures={
                "length": (int(thin[column]) + 1) / levels,
                "layers": float(thin[column]) + 1,
                "alone": float(alone[column]),
                "loud": float(loudest[column] / usual),
            },
            message=f"Feature {column} of the last layer comes from the image through {int(thin[column])} layers by "
            f"single channels of their own, and {float(alone[column]):.0%} of its weight goes to class {label}",
            place=f"feature {column}",
            nodes=(machine.numbers[source],),
            column=column,
        )


def _flow(
    machine: Machine, place: fx.Node, flows: dict[fx.Node, _Flow], *, is_layer: bool, is_image: bool
) -> _Flow | None:
    size = shape(place)
    if is_image:
        return _Flow(torch.zeros(size[1], dtype=torch.long)) if len(size) == 4 else None
    given = [flows.get(one) for one in place.all_input_nodes if one in machine.numbers]
    if not given or any(one is None for one in given) or len(size) < 2:
        return None
    sources = [one for one in given if one is not None]
    if is_layer:
        return _through(machine, place, sources[0])
    if operator(place) == "cat":
        dim = place.args[1] if len(place.args) > 1 else 0
        same = all(one.span == sources[0].span for one in sources)
        return _Flow(torch.cat([one.thin for one in sources]), sources[0].span) if dim == 1 and same else None
    return _kept(sources, size)


def _kept(sources: list[_Flow], size: tuple[int, ...]) -> _Flow | None:
    """Channel by channel: a sum is thin where all of its parts are, and as long as the longest."""
    channels = len(sources[0].thin)
    if any(len(one.thin) != channels for one in sources) or size[1] % channels:
        return None
    thin = torch.stack([one.thin for one in sources])
    length = torch.where((thin == _NONE).any(0), torch.full_like(thin[0], _NONE), thin.amax(0))
    return _Flow(length, size[1] // channels)


def _through(machine: Machine, place: fx.Node, source: _Flow) -> _Flow | None:
    energy = _energies(machine, place, source)
    if energy is None:
        return None
    if energy.shape[1] == 1:  # each channel by itself
        repeated = source.thin.repeat_interleave(len(energy) // len(source.thin))
        return _Flow(repeated) if len(repeated) == len(energy) else None
    if energy.shape[1] != len(source.thin):
        return None
    if int(source.thin.max()) == 0 and energy.shape[1] <= 4:  # from the image, all of its colours
        return _Flow(torch.ones(len(energy), dtype=torch.long))
    if energy.shape[1] < _NARROWEST:
        return _Flow(torch.full((len(energy),), _NONE))
    return _Flow(_narrow(energy, source.thin))


def _narrow(energy: Float[Tensor, "o i"], thin: Int[Tensor, " i"]) -> Int[Tensor, " o"]:
    total = energy.sum(1)
    counted = total.square() / energy.square().sum(1).clamp_min(_TINY)
    heard = energy >= _COUNTS * total[:, None].clamp_min(_TINY)
    longest = torch.where(heard, thin, torch.full_like(thin, _NONE)).amax(1)
    passes = (counted <= _FEW) & (total > 0) & ~(heard & (thin == _NONE)).any(1)
    return torch.where(passes, longest + 1, torch.full_like(longest, _NONE))


def _energies(machine: Machine, place: fx.Node, source: _Flow) -> Float[Tensor, "o i"] | None:
    """Squares of a layer's weights, summed over each pair of channels."""
    if operator(place) == "convolution":
        weight, groups = machine.fixed(place.args[1]), place.args[8]
        if weight is None or source.span != 1 or place.args[6] or (groups != 1 and weight.shape[1] != 1):
            return None
        energies: Tensor = weight.detach().float().square().flatten(2).sum(2)
        return energies
    matrix = _matrix(machine, place)
    if matrix is None or matrix.shape[1] % source.span:
        return None
    return matrix.square().reshape(len(matrix), -1, source.span).sum(2)


def _matrix(machine: Machine, place: fx.Node) -> Float[Tensor, "o i"] | None:
    """The weights of a linear layer, one row for each of its outputs."""
    position = {"addmm": 2, "mm": 1}.get(operator(place))
    weight: Any = None if position is None else machine.fixed(place.args[position])
    return weight.detach().float().t() if isinstance(weight, Tensor) and weight.ndim == 2 else None
