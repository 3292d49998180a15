"""Loads a risky file in a child process first, with limits and without credentials; the parent loads what survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from modelscan_bd.errors import UnreadableModel
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.limits import Limits
from modelscan_bd.loading.sniff import Kind

OUT_OF_MEMORY, CHANGED = 77, 78  # the child's exit codes, besides 0 for "lived through it"
_KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "VIRTUAL_ENV",
)
_QUIET = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}


def rehearse(file: Blob, kind: Kind, limits: Limits) -> tuple[str, ...]:
    """Notes on what could not be limited. Raises UnreadableModel with the limit that was hit."""
    # -P: a torch.py lying in the current folder must not be imported
    command = [
        sys.executable,
        "-P",
        "-m",
        "modelscan_bd.loading.child",
        kind.name,
        str(file.path.resolve()),
        file.sha256,
    ]
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ} | _QUIET
    try:
        child = subprocess.run(
            [*command, str(limits.bytes), str(limits.memory), str(limits.seconds)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=limits.seconds + 30,  # on top: the imports
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableModel(f"{file.path.name} was still loading after {limits.seconds:.0f} seconds") from None
    if child.returncode:
        raise UnreadableModel(f"{file.path.name} {_ending(child.returncode, child.stderr, limits)}")
    return () if _can_limit() else ("This system cannot limit a process's memory; loading was limited in time only.",)


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


def _can_limit() -> bool:
    return sys.platform.startswith("linux")
