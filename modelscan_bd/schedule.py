"""Which detectors a scan runs, and in which order: first those that are expected to tell most in the least time.

What a detector is expected to tell is the AUROC that its calibrated rules measured, and next to nothing where no rule
judges it. The order matters when time runs out; no measurement depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from modelscan_bd import registry
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.types import Card, Cost, Detector, Effort, Need

_SECONDS = MappingProxyType({Cost.INSTANT: 0.3, Cost.SECONDS: 3.0, Cost.MINUTES: 30.0})
_UNJUDGED = 0.05  # of an AUROC above chance
_EFFORTS = tuple(Effort)


def plan(
    among: Mapping[str, Detector],
    book: Rulebook,
    *,
    chosen: Sequence[str] = (),
    effort: Effort = Effort.STANDARD,
    reference: bool = True,
) -> tuple[Detector, ...]:
    """The chosen detectors, whatever they cost, or all that `effort` allows; the most telling per second first.

    Where there is no `reference`, those that compare with one are left out unless they were chosen.

    Raises UsageError for an id that nobody offers.
    """
    able = [d for d in registry.select(chosen, among) if chosen or reference or Need.REFERENCE not in d.card.needs]
    wanted = [d for d in able if chosen or affordable(d.card, effort)]
    return tuple(sorted(wanted, key=lambda d: (-worth(d.card, book), d.card.id)))


def left_out(among: Iterable[Detector], planned: Iterable[Detector]) -> tuple[str, ...]:
    """The ids of those that are not run."""
    return tuple(sorted({d.card.id for d in among} - {d.card.id for d in planned}))


def affordable(card: Card, effort: Effort) -> bool:
    return _EFFORTS.index(card.effort) <= _EFFORTS.index(effort)


def worth(card: Card, book: Rulebook) -> float:
    """How far above chance its best rule tells infected from benign, per second."""
    measured = [rule.calibration.auroc for rule in book.measured if rule.detector == card.id]
    telling = max((auroc - 0.5 for auroc in measured if auroc is not None), default=_UNJUDGED)
    return max(telling, _UNJUDGED) / _SECONDS[card.cost]
