"""How much the process that measures may take: less while it loads the file than once that is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from modelscan_bd.loading.limits import Limits
from modelscan_bd.machine import cores
from modelscan_bd.supervision.messages import Exhausted
from modelscan_bd.supervision.resources import address_space, bound, bounds_memory, processor_seconds, relax

_DAY = 86_400.0  # seconds: nobody waits longer
_SPARE = 60.0  # seconds
_GIB = 2**30
_GPU = "A graphics card is in reach: its driver was let have memory without a limit, and sockets within this machine."
_UNBOUNDED = "This system cannot limit a process's memory; measuring was not limited in it."


@final
@dataclass(eq=False)
class Allowance:
    """Of memory on top of the libraries (bytes; None: unlimited), of the processor's time, and of what is written."""

    memory: int | None
    timeout: float | None  # seconds
    loading: bool = True

    def limits(self) -> Limits:
        """Of the loader, which need not rehearse here what would end nobody else."""
        usual = Limits()
        memory = usual.memory if self.memory is None else min(usual.memory, self.memory)
        return Limits(memory=memory, rehearsed=False)

    def begin(self) -> tuple[str, ...]:
        """To be called once the libraries are there. Sentences on what could not be limited."""
        limits, used = self.limits(), processor_seconds()
        loading = int(limits.seconds * max(4, cores()))
        measuring = int(((self.timeout or _DAY) + _SPARE) * cores())
        whole = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": limits.bytes, "RLIMIT_CPU": used + loading + measuring}
        first = {"RLIMIT_CPU": used + loading}
        bounded = bounds_memory() and not _has_gpu()
        if bounded:
            taken = address_space()
            first["RLIMIT_AS"] = taken + limits.memory
            whole |= {} if self.memory is None else {"RLIMIT_AS": taken + self.memory}
        bound(whole, for_good=True)
        bound(first, for_good=False)
        return () if bounded else (_GPU if bounds_memory() else _UNBOUNDED,)

    def has_loaded(self) -> None:
        self.loading = False
        relax("RLIMIT_CPU", *(["RLIMIT_AS"] if bounds_memory() else []))

    def exceeded(self) -> Exhausted:
        """What to say when there was no memory left."""
        memory = self.limits().memory if self.loading else self.memory
        most = "there is" if memory is None else f"the {memory / _GIB:.1f} GiB that it may have"
        what = f"{'loading' if self.loading else 'measuring'} the model takes more memory than {most}"
        return Exhausted(what=what, hint="See --memory, or take a machine that has more.")


def _has_gpu() -> bool:
    import torch  # is there already, where this is asked

    return torch.cuda.is_available()
