"""The process that works, seen from the one that waits: what it says, and how it ended."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, final

from modelscan_bd.events import CutShort
from modelscan_bd.supervision.messages import Message, Order, Senseless, line, read
from modelscan_bd.supervision.resources import command, surroundings

_LONGEST_LINE = 2**26  # bytes: some pictures
_WAITING = 16  # lines that may be unread
_PATIENCE = 5.0  # seconds in which a process that has fallen silent must have ended

_MEMORY = "Take a machine with more memory, or leave detectors out with --effort or --detectors."
CRASH = "Look at the file with suspicion: it may be made to take over what loads it."
_DEBUG = "--debug shows what it said."


@final
class Process:
    """A context: whatever happens in it, the process is gone after it, and its group with it."""

    def __init__(self, order: Order) -> None:
        self._said: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._process = subprocess.Popen(
            command("modelscan_bd.supervision.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if order.debug else subprocess.DEVNULL,
            env=surroundings({name: str(order.folder) for name in ("TEMP", "TMP", "TMPDIR")}),
            **_apart(),
        )
        self._order = line(order)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Process:
        self._reader.start()
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died: `hear` says so
            self._process.stdin.write(self._order)
            self._process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()
        self._process.wait()
        if self._stopped_reading():
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close() if pipe else None

    def _stopped_reading(self) -> bool:
        """The reader may wait for somebody to take what it has read."""
        ends = time.monotonic() + _PATIENCE
        while self._reader.is_alive() and time.monotonic() < ends:
            with suppress(queue.Empty):
                self._said.get(timeout=0.01)
        return not self._reader.is_alive()

    def hear(self, seconds: float) -> Message | None:
        """The next message; None if none comes in time. Raises CutShort where none will ever come."""
        try:
            text = self._said.get(timeout=seconds)
        except queue.Empty:
            return None
        if not text:
            raise self._ended()
        try:
            message: Message = read(text, Message)
        except Senseless as error:
            raise CutShort(f"the process that measured said what makes no sense ({error})", hint=CRASH) from error
        return message

    def _read(self) -> None:
        """In a thread of its own, since pipes cannot be waited for with a time limit on every system."""
        assert self._process.stdout is not None
        while text := self._process.stdout.readline(_LONGEST_LINE):
            self._said.put(text)
        self._said.put(b"")

    def _ended(self) -> CutShort:
        """Why nothing more will be said."""
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return CutShort("the process that measured fell silent", hint=CRASH)
        if code >= 0:
            return CutShort(f"the process that measured ended early, with exit code {code}", hint=_DEBUG)
        name = signal.Signals(-code).name
        if name == "SIGKILL":
            return CutShort("the process that measured was killed, as happens when memory runs out", hint=_MEMORY)
        if name == "SIGXCPU":
            return CutShort("the process that measured used up the processor time that it may have", hint=_MEMORY)
        return CutShort(f"the process that measured crashed ({name})", hint=CRASH)

    def _kill(self) -> None:
        if self._process.poll() is None:
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)


def _apart() -> dict[str, Any]:
    """In a group of its own: an interrupt from the keyboard is for the process that waits."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
