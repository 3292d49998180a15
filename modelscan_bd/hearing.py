"""The events of a measurement, put together as they come, and what to make of one that broke off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

from modelscan_bd.errors import CannotMeasure, UnsafeModel, UnsupportedModel
from modelscan_bd.events import Checked, CutShort, Event, Loaded, Planned
from modelscan_bd.results import Check, Failure, Outcome

_NOTHING = Planned(detectors={}, not_run=())


@final
@dataclass(frozen=True, kw_only=True)
class Heard:
    """What was told, and what ended it if not its own end."""

    plan: Planned = _NOTHING
    loaded: Loaded | None = None
    checks: tuple[Check, ...] | None = None
    outcomes: tuple[Outcome, ...] = ()
    ended: UnsafeModel | UnsupportedModel | CannotMeasure | CutShort | None = None

    def and_then(self, event: Event) -> Heard:
        match event:
            case Planned():
                return replace(self, plan=event)
            case Loaded():
                return replace(self, loaded=event)
            case Checked():
                return replace(self, checks=event.checks)
            case _:
                return replace(self, outcomes=(*self.outcomes, event))

    def complete(self) -> tuple[Outcome, ...]:
        """One outcome for each detector of the plan: those that were not heard of have failed."""
        if not isinstance(self.ended, CutShort):
            return self.outcomes
        heard = {outcome.detector for outcome in self.outcomes}
        missing = [detector for detector in self.plan.detectors if detector not in heard]
        running = missing[:1] if self.checks is not None else []
        return (
            *self.outcomes,
            *(Failure(detector=one, reason=self.ended.what) for one in running),
            *(Failure(detector=one, reason="it was not reached") for one in missing[len(running) :]),
        )


def hear(events: Iterable[Event]) -> Heard:
    """All that is told, to the end or until it breaks off. Other errors pass."""
    heard = Heard()
    try:
        for event in events:
            heard = heard.and_then(event)
    except (UnsafeModel, UnsupportedModel, CannotMeasure, CutShort) as error:
        return replace(heard, ended=error)
    return heard
