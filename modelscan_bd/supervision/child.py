"""The process that measures: `python -P -m modelscan_bd.supervision.child`, an `Order` on its input.

It gives up what it does not need before it imports anything large or reads a byte of the model. Its output is
messages; what libraries print goes to its error output.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, replace
from typing import BinaryIO, final

from modelscan_bd.errors import BdscanError, CannotMeasure, UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.events import Loaded, Planned
from modelscan_bd.machine import was_lacking
from modelscan_bd.supervision.allowance import Allowance
from modelscan_bd.supervision.confinement import confine
from modelscan_bd.supervision.messages import Broke, Done, Message, Order, Refused, Tick, line, read
from modelscan_bd.supervision.resources import log_own

_SECONDS_BETWEEN_TICKS = 0.1


def main() -> int:
    say = _Teller(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    order: Order = read(sys.stdin.buffer.readline(), Order)
    notes = confine(order.folder)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if order.debug:
        log_own()
    _work(order, notes, say)
    say(Done())
    return 0


def _leave_with_parent() -> None:
    """Its end of our input is closed when it ends, however it ends."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _work(order: Order, notes: tuple[str, ...], say: _Teller) -> None:
    """Measures, and tells all that there is to tell of it."""
    allowance = Allowance(memory=order.memory, timeout=order.settings.timeout)
    try:
        from modelscan_bd.measuring import measure

        for event in measure(order.settings, say, allowance.limits()):
            match event:
                case Planned():
                    say(replace(event, notes=(*notes, *allowance.begin())))
                case Loaded():
                    allowance.has_loaded()
                    say(event)
                case _:
                    say(event)
    except (BdscanError, CannotMeasure) as error:
        say(allowance.exceeded() if _is_about_memory(error) else _refused(error))
    except Exception as error:  # noqa: BLE001 - the outermost edge of a process: whoever waits must hear of it
        broke = Broke(error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        say(allowance.exceeded() if was_lacking(error) else broke)


def _is_about_memory(error: BdscanError | CannotMeasure) -> bool:
    """A name in a message may say anything; what is believed of it must not change how the scan ends."""
    if isinstance(error, (UnsupportedModel, CannotMeasure)):
        return was_lacking(error)
    return not isinstance(error, UnsafeModel) and was_lacking(error.__cause__)


def _refused(error: BdscanError | CannotMeasure) -> Refused:
    match error:
        case CannotMeasure():
            return Refused(kind="CannotMeasure", what=str(error), remedy="")
        case UnsafeModel():
            return Refused(kind="UnsafeModel", what=error.what, remedy=error.remedy)
        case UnsupportedModel():
            return Refused(kind="UnsupportedModel", what=error.what, remedy=error.remedy)
        case UnreadableModel():
            return Refused(kind="UnreadableModel", what=error.what, remedy=error.remedy)
    return Refused(kind="UsageError", what=error.what, remedy=error.remedy)


@final
@dataclass(eq=False)
class _Teller:
    """Says messages. Of ticks it passes on some."""

    out: BinaryIO
    last: float = 0.0

    def __call__(self, message: Message) -> None:
        self.out.write(line(message))
        self.out.flush()

    def tick(self, share: float, note: str) -> None:
        now = time.monotonic()
        if now >= self.last + _SECONDS_BETWEEN_TICKS:
            self.last = now
            self(Tick(share=share, note=note))


if __name__ == "__main__":
    sys.exit(main())
