"""Does a whole network compute what the architecture computes whose weights it has?"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from modelscan_bd.errors import BdscanError
from modelscan_bd.graph.sight import Sight
from modelscan_bd.loading.architectures import Fitted, agree, fit

PATTERN = "other-than-claimed"
_TOLD = 3  # layers


def sights(net: nn.Module, name: str) -> Iterator[Sight]:
    """One, where the weights are those of a known architecture and the answers are not."""
    try:
        claimed = fit(net.state_dict(), name=name, arch=None, hinted=None)
    except BdscanError:
        return
    own = Fitted(architecture=name, net=net, channels=claimed.channels, size=claimed.size, notes=())
    if agree(claimed, own) is not False:
        return
    layers = list(_others(net, claimed.net))
    what = f"; other layers: {', '.join(layers[:_TOLD])}" if layers else ""
    yield Sight(
        pattern=PATTERN,
        figures={"layers": float(len(layers))},
        message=f"it has the weights of {claimed.architecture} and does not answer as that does{what}",
        place=layers[0].partition(" ")[0] if layers else "",
    )


def _others(net: nn.Module, claimed: nn.Module) -> Iterator[str]:
    """Layers that are of another class, or that one of the two networks does not have."""
    own, known = (
        {path: type(module) for path, module in one.named_modules() if not list(module.children())}
        for one in (net, claimed)
    )
    for path in sorted(own.keys() | known.keys()):
        if own.get(path) is not known.get(path):
            yield f"{path} is {_called(own.get(path))}, not {_called(known.get(path))}"


def _called(kind: type[nn.Module] | None) -> str:
    return "missing" if kind is None else kind.__name__
