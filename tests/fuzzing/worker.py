"""A process that reads one input after another under limits, and says what each cost; made anew when it ends."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, final

import torch

from modelscan_bd.errors import BdscanError
from modelscan_bd.supervision.resources import address_space, bound

MEMORY: Final = 2**30  # bytes on top of what the libraries take
MUCH: Final = 2**29  # bytes of one input that are a failure, though none of the limits was hit
SECONDS: Final = 5.0  # of processor time
_PATIENCE: Final = 60.0  # seconds by the clock: machines are shared
_FORBIDDEN: Final = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`what` is '' where the reader ended as it should, else a line that is the same for failures of one cause."""

    what: str
    details: str = ""
    seconds: float = 0.0  # of processor time
    memory: int = 0  # bytes, the most


@final
class Worker:
    """One reader. `canary` is the file that the corpora's payloads would make."""

    def __init__(self, read: Callable[[bytes, Path], object], canary: Path) -> None:
        self._read, self._canary = read, canary
        self._home = Path(tempfile.mkdtemp(prefix="bdscan-fuzz-"))
        self._log = self._home / "log"
        self._start()

    def _start(self) -> None:
        folder = self._home / "files"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "w.bin").write_bytes(bytes(7680))
        os.mkfifo(folder / "pipe")
        self._log.write_text("")
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(self._read, theirs, self._pipe, folder, self._log), daemon=True
        )
        self._process.start()
        theirs.close()

    def run(self, data: bytes) -> Outcome:
        try:
            self._pipe.send_bytes(data)
            outcome = self._pipe.recv() if self._pipe.poll(_PATIENCE) else Outcome(what="hangs")
        except (EOFError, OSError):
            outcome = self._death()
        if outcome.what == "hangs" or outcome.memory > MUCH // 2 or "MemoryError" in outcome.what:
            self._stop()  # what one input has taken is not given back to the next
            self._start()
        if self._canary.exists():
            self._canary.unlink()
            outcome = Outcome(what="canary", details=outcome.details)
        return outcome

    def _death(self) -> Outcome:
        self._process.join(5)
        code, log = self._process.exitcode, self._log.read_text(errors="replace")
        self._stop()
        self._start()
        inner = next((line.strip() for line in log.splitlines() if line.startswith("  File ")), "")
        what = f"more than {SECONDS:g} s" if code == -signal.SIGPROF else f"dies of {code}"
        return Outcome(what=f"{what} {_short(inner)}", details=log, seconds=SECONDS)

    def _stop(self) -> None:
        self._process.kill()
        self._process.join(5)
        self._pipe.close()

    def close(self) -> None:
        self._stop()
        shutil.rmtree(self._home, ignore_errors=True)


def _serve(read: Callable[[bytes, Path], object], pipe: Connection, other: Connection, folder: Path, log: Path) -> None:
    other.close()  # so that the end of who asks is seen
    os.chdir(folder)
    torch.set_num_threads(1)  # its threads do not outlive a fork
    with log.open("w") as stream:
        faulthandler.enable(stream)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        faulthandler.register(signal.SIGPROF, stream, all_threads=False, chain=True)
        seen: list[str] = []
        sys.addaudithook(lambda event, args: seen.append(f"{event} {args!r:.200}") if event in _FORBIDDEN else None)
        bound({"RLIMIT_AS": address_space() + MEMORY, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 2**28}, for_good=True)
        gc.freeze()  # what the libraries hold is none of an input's garbage
        while True:
            try:
                data = pipe.recv_bytes()
            except EOFError:
                return
            pipe.send(_judged(read, data, folder, seen))


def _judged(read: Callable[[bytes, Path], object], data: bytes, folder: Path, seen: list[str]) -> Outcome:
    gc.collect()
    before, began, what, details = _peak(anew=True), time.process_time(), "", ""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(data, folder)
    except BdscanError:
        pass
    except BaseException as error:  # noqa: BLE001  # to find them is what this is for
        what, details = _signature(error), traceback.format_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, memory = time.process_time() - began, _peak() - before
    if seen:
        what, details = f"runs {seen[0][:80]}", "\n".join(seen)
        seen.clear()
    if not what and memory > MUCH:
        what = "takes much memory"
    return Outcome(what=what, details=details, seconds=seconds, memory=max(memory, 0))


def _peak(*, anew: bool = False) -> int:
    """Bytes of memory, the most so far; what is in use now where it shall be counted anew."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _signature(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "modelscan_bd" in frame.filename]
    last = (ours or list(frames))[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


def _short(line: str) -> str:
    return line.replace("File ", "").replace('"', "").split("/")[-1]
