"""All patterns on a network that can be run, and which of the suspected branches sleep and can be woken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modelscan_bd.graph import chains, ways
from modelscan_bd.graph.branch import Branch
from modelscan_bd.graph.from_torch import traced
from modelscan_bd.graph.ir import Graph
from modelscan_bd.graph.machine import Machine
from modelscan_bd.graph.patterns import patterns
from modelscan_bd.graph.sight import Sight
from modelscan_bd.graph.waking import Waking, wake
from modelscan_bd.types import Images, Watch

WOKEN = "woken"
_WORTH, _WORTH_RAW = 0.4, 0.1  # share of layers that a way must go around to be tried; that one from the image must
_MOST = 8  # branches that are tried
_WORK, _WHOLE = 2.5e11, 6e11  # multiplications for each, and for all: a good ten seconds of one core, half a minute
_SHOWN = 0.3  # of the images, from which on a trigger is one and no further branch is tried
_LARGE, _FEW, _MANY = 64, 8, 16  # images of more pixels a side than that are run few at a time


@final
@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen, and the waking that succeeded, if one did."""

    sights: tuple[Sight, ...]
    waking: Waking | None = None


def examine(net: nn.Module, images: Images, rng: torch.Generator, watch: Watch) -> Seen:
    """Traces the network on some of the images, in pixels of 0 to 1, looks through the graph and tries the branches.

    Raises CannotMeasure where the network cannot be traced.
    """
    some = _batch(images)
    machine = Machine(traced(net, some), len(some))
    seen = [*patterns(machine.trace.graph), *chains.sights(machine)]
    asleep: dict[tuple[int, int | None], bool] = {}
    for done, (node, column) in enumerate(_suspects(machine, seen)):
        watch.tick(done / _MOST, f"trying {machine.trace.graph.nodes[node].name}")
        branch = Branch(machine, node, some, column)
        asleep[node, column] = branch.asleep()
        work = min(_WORK, _WHOLE - machine.work)
        waking = wake(branch, work, rng, watch) if asleep[node, column] and work > 0 else None
        if waking is not None and waking.shown > _SHOWN:
            return Seen(sights=(*_told(seen, asleep), _woken(machine.trace.graph, node, waking)), waking=waking)
    return Seen(sights=tuple(_told(seen, asleep)))


def _batch(images: Images) -> Float[Tensor, "b c h w"]:
    size = _FEW if max(images.shape[2:]) > _LARGE else _MANY
    chosen = torch.arange(size) * max(len(images), size) // size % len(images)
    return images[chosen].contiguous()


def _suspects(machine: Machine, seen: Sequence[Sight]) -> list[tuple[int, int | None]]:
    """Nodes to hold, those nearest the answer first: what lies behind them is then tried with them."""
    found = {(node, sight.column) for sight in seen if _worth_trying(sight) for node in sight.nodes}
    kept = [one for one in found if machine.can_be_held(one[0])]
    return sorted(kept, key=lambda one: (-one[0], one[1] or 0))[:_MOST]


def _worth_trying(sight: Sight) -> bool:
    if sight.pattern != ways.PATTERN:
        return True
    figures = sight.figures
    return figures["passed"] >= (_WORTH_RAW if figures["raw"] else _WORTH) or figures["raw"] * figures["decides"] > 0


def _told(seen: Sequence[Sight], asleep: dict[tuple[int, int | None], bool]) -> Iterator[Sight]:
    """The sights, with whether any of their branches sleeps, where that was tried."""
    for sight in seen:
        tried = [asleep[node, sight.column] for node in sight.nodes if (node, sight.column) in asleep]
        figures = (
            {**sight.figures, "asleep": float(any(tried)), "awake": float(not any(tried))} if tried else sight.figures
        )
        yield replace(sight, figures=figures)


def _woken(graph: Graph, node: int, waking: Waking) -> Sight:
    name = graph.nodes[node].name
    return Sight(
        pattern=WOKEN,
        figures={"stamped": waking.stamped, "held": waking.held, "change": waking.change},
        message=f"a pattern on {waking.area:.1%} of the picture wakes {name}; {waking.stamped:.0%} of the images with "
        f"it become class {waking.target}, and {waking.held:.0%} while {name} is held as it is without",
        place=name,
        target=waking.target,
    )
