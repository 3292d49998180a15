"""Loads a risky file in a child process first, with limits and without credentials; the parent loads what survived."""

from __future__ import annotations

import signal
import subprocess

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.sniff import Kind
from modelscan_bd.supervision.resources import bounds_memory, command, surroundings

OUT_OF_MEMORY, CHANGED = 77, 78  # the child's exit codes, besides 0 for "lived through it"
UNBOUNDED = "This system cannot limit a process's memory; loading was limited in time only."
_QUIET = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}


def rehearse(file: Blob, kind: Kind, limits: Limits) -> tuple[str, ...]:
    """Notes on what could not be limited. Raises UnreadableModel with the limit that was hit."""
    if not limits.rehearsed:
        return ()
    what = (kind.name, str(file.path.resolve()), file.sha256)
    try:
        child = subprocess.run(
            [*command("modelscan_bd.loading.child"), *what, *map(str, (limits.bytes, limits.memory, limits.seconds))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=surroundings(_QUIET),
            timeout=limits.seconds + 30,  # on top: the imports
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableModel(f"{file.path.name} was still loading after {limits.seconds:.0f} seconds") from None
    if child.returncode:
        raise UnreadableModel(f"{file.path.name} {_ending(child.returncode, child.stderr, limits)}")
    return () if bounds_memory() else (UNBOUNDED,)


def _ending(code: int, complaint: bytes, limits: Limits) -> str:
    if code == OUT_OF_MEMORY:
        return f"needs more than {limits.memory / 2**30:.1f} GiB of memory to load"
    if code == CHANGED:
        return "changed while it was being read"
    if -code in (getattr(signal, "SIGXCPU", None), getattr(signal, "SIGALRM", None)):
        return f"needs more than {limits.seconds:.0f} seconds to load"
    if code < 0:
        return f"crashed its loader in the rehearsal ({signal.Signals(-code).name})"
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    return f"broke its loader in the rehearsal ({lines[-1][:160] if lines else f'exit code {code}'})"
