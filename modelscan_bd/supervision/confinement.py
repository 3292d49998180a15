"""What a process on Linux gives up for good: the network, and writing anywhere but into one folder.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) and seccomp need no privileges and are asked for through
the C library. Both hold for the thread that asks and for all that it starts, so they must come before any other thread.
Reading is not limited: what is read can be taken nowhere.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_NO_NEW_PRIVILEGES, _SIGNAL_AT_PARENTS_DEATH = 38, 1

# AUDIT_ARCH_*, and system calls: seccomp, socket, io_uring_setup
_CALLS = {"x86_64": (0xC000003E, 317, 41, 425), "aarch64": (0xC00000B7, 277, 198, 425)}
_BY_FILTER, _AT_FULL_SPEED = 1, 1 << 2  # the latter: older kernels slow a filtered process down otherwise
_LOAD, _IS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of the filter
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter: EPERM
_OTHER_TABLE = 0x40000000  # x86-64's second table of system calls begins here
_LOCAL = 1  # AF_UNIX

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _BENEATH = 1, 1
_WRITE_FILE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
_CHANGES_IN_FOLDERS = 0b1_1111_1111 << 4  # removing and making of every kind: bits 4 to 12
_SCOPES = 0b11  # abstract local sockets and signals stay inside

_GPUS = ("nvidia*", "nvidia-caps/*", "dxg", "kfd")


def confine(folder: Path) -> tuple[str, ...]:
    """Sentences on what could not be given up."""
    if sys.platform != "linux":
        return (
            "This system lets a process give up neither the network nor writing to files; measuring was not kept from "
            "either.",
        )
    gpus, library = _gpus(), _library()
    library.prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL, 0, 0, 0)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    notes = []
    if not _write_only_to(library, folder, [Path(os.devnull), *gpus]):
        notes.append("This system cannot limit where a process writes (Landlock); measuring was not kept from it.")
    if not _refuse_sockets(library, local=bool(gpus)):
        notes.append("This system cannot keep a process off the network (seccomp); measuring was not kept off it.")
    return tuple(notes)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    library.syscall.argtypes, library.syscall.restype = [ctypes.c_long] * 5, ctypes.c_long
    return library


def _gpus() -> list[Path]:
    """What drivers of graphics cards that can compute open."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return []
    found = [path for pattern in _GPUS for path in Path("/dev").glob(pattern)]
    if Path("/dev/kfd") in found:
        found += Path("/dev/dri").glob("*")
    return [path for path in found if not path.is_dir()]


# ---------------------------------------------------------------- files


def _write_only_to(library: ctypes.CDLL, folder: Path, devices: Iterable[Path]) -> bool:
    """Landlock's rights grow with its version: moving between folders from 2, cutting short from 3, scopes from 6."""
    version = library.syscall(_CREATE_RULESET, 0, 0, _VERSION, 0)
    if version < 1:
        return False
    to_files = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    everything = to_files | _CHANGES_IN_FOLDERS | (_REFER if version >= 2 else 0)
    wanted = ctypes.create_string_buffer(struct.pack("=QQQ", everything, 0, _SCOPES if version >= 6 else 0), 24)
    rules = library.syscall(_CREATE_RULESET, ctypes.addressof(wanted), len(wanted), 0, 0)
    if rules < 0:
        return False
    try:
        for path, rights in ((folder, everything), *((device, to_files) for device in devices)):
            _allow(library, rules, path, rights)
        return bool(library.syscall(_RESTRICT_SELF, rules, 0, 0, 0) == 0)
    finally:
        os.close(rules)


def _allow(library: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        library.syscall(_ADD_RULE, rules, _BENEATH, ctypes.addressof(rule), 0)
    finally:
        os.close(place)


# ---------------------------------------------------------------- network


def _refuse_sockets(library: ctypes.CDLL, *, local: bool) -> bool:
    """No new socket, nor io_uring, which makes sockets too. `local` ones are let through: a driver may want them."""
    if platform.machine() not in _CALLS or struct.calcsize("P") != 8:
        return False
    table, seccomp, socket, ring = _CALLS[platform.machine()]
    program = _program(table, socket, ring, local=local)
    kept = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(kept)))
    return bool(library.syscall(seccomp, _BY_FILTER, _AT_FULL_SPEED, ctypes.addressof(head), 0) == 0)


def _program(table: int, socket: int, ring: int, *, local: bool) -> bytes:
    """A jump says how many instructions to pass over: if it holds, if not."""
    return b"".join(
        struct.pack("=HBBI", code, holds, fails, value)
        for code, holds, fails, value in (
            (_LOAD, 0, 0, 4),  # the table of system calls
            (_IS, 0, 6, table),
            (_LOAD, 0, 0, 0),  # the call
            (_AT_LEAST, 4, 0, _OTHER_TABLE),
            (_IS, 3, 0, ring),
            (_IS, 0, 3, socket),
            (_LOAD, 0, 0, 16),  # its first argument: the family
            (_IS, 1, 0, _LOCAL if local else 0xFFFFFFFF),
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
