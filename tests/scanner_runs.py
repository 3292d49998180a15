"""Scanners of model files as command lines, and one run of one of them: limited, timed, and watched for a canary."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

MEMORY: Final = 4 * 2**30  # bytes of address space
SEVERITIES: Final = ("", "info", "low", "medium", "high", "critical")
OFF: Final = {  # neither do they call home, nor look for a newer release
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "NO_ANALYTICS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


@final
@dataclass(frozen=True, kw_only=True)
class Tool:
    """A command line with `{file}` and `{report}` in it, and how its report or output names the worst severity."""

    name: str
    command: tuple[str, ...]
    severity: Callable[[str, str], str]  # of the report and the output; '' where it names none


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """What one tool did with one file."""

    tool: str
    group: str
    name: str
    exit: int  # negative: the signal that ended it
    severity: str
    traceback: bool
    hung: bool
    wall: float  # seconds
    cpu: float
    memory: int  # bytes, at most
    canary: bool

    def row(self) -> dict[str, object]:
        return asdict(self)


def tools(folder: Path) -> tuple[Tool, ...]:
    """`folder` is where the others' commands are: the `bin` of their virtual environment."""
    own = (sys.executable, "-m", "modelscan_bd")
    pick = (str(folder / "picklescan"), "-p", "{file}")
    return (
        Tool(name="bdscan audit", command=(*own, "audit", "{file}", "--report", "{report}"), severity=_bdscan),
        Tool(
            name="bdscan",
            command=(*own, "{file}", "--report", "{report}", "--effort", "quick", "--timeout", "20"),
            severity=_bdscan,
        ),
        Tool(
            name="modelaudit",
            command=(str(folder / "modelaudit"), "scan", "--no-cache", "-f", "json", "-o", "{report}", "{file}"),
            severity=_modelaudit,
        ),
        Tool(name="picklescan", command=pick, severity=_picklescan),
        Tool(name="picklescan --strict", command=(*pick, "--strict"), severity=_picklescan),
        Tool(
            name="modelscan",
            command=(str(folder / "modelscan"), "-p", "{file}", "-r", "json", "-o", "{report}"),
            severity=_modelscan,
        ),
        Tool(
            name="fickling",
            command=(str(folder / "fickling"), "--check-safety", "--json-output", "{report}", "{file}"),
            severity=_fickling,
        ),
    )


def run(tool: Tool, group: str, name: str, file: Path, canary: Path, scratch: Path, seconds: float) -> Run:
    """Runs the tool in `scratch`, as a process with limits, and ends it and its children after `seconds`."""
    report, log = scratch / "report.json", scratch / "output.txt"
    report.unlink(missing_ok=True)
    command = [part.format(file=file, report=report) for part in tool.command]
    began = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=scratch,
            env=os.environ | OFF,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_limited,
        )
        status, used, hung = _ended(child.pid, began + seconds)
    wall = time.monotonic() - began
    said = log.read_bytes()[: 2**22].decode("utf-8", "replace")
    touched = canary.exists()
    canary.unlink(missing_ok=True)
    return Run(
        tool=tool.name,
        group=group,
        name=name,
        exit=os.waitstatus_to_exitcode(status),
        severity=tool.severity(report.read_text(errors="replace") if report.is_file() else "", said),
        traceback="Traceback (most recent call last)" in said,
        hung=hung,
        wall=round(wall, 2),
        cpu=round(used.ru_utime + used.ru_stime, 2),
        memory=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        canary=touched,
    )


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _ended(process: int, deadline: float) -> tuple[int, resource.struct_rusage, bool]:
    """How it ended, what it used, and whether it had to be ended. Whatever it started ends with it."""
    hung = False
    while True:
        ended, status, used = os.wait4(process, 0 if hung else os.WNOHANG)
        if ended:
            _end_group(process)
            return status, used, hung
        if time.monotonic() > deadline:
            hung = True
            _end_group(process)
        else:
            time.sleep(0.02)


def _end_group(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # where the group is empty
        os.killpg(process, signal.SIGKILL)


# ---------------------------------------------------------------- what each says


def _worst(named: list[str]) -> str:
    known = [severity for severity in map(str.lower, named) if severity in SEVERITIES]
    return max(known, key=SEVERITIES.index, default="")


def _bdscan(report: str, said: str) -> str:
    del said
    return _worst(re.findall(r'"severity": "(\w+)"', report))


def _modelaudit(report: str, said: str) -> str:
    del said
    return _worst([issue["severity"].replace("warning", "medium") for issue in _table(report).get("issues", [])])


def _picklescan(report: str, said: str) -> str:
    """It knows one grade of alarm, which is taken for the highest."""
    del report
    return "critical" if re.search(r"Infected files: [1-9]", said) else ""


def _modelscan(report: str, said: str) -> str:
    del said
    found = _table(report).get("summary", {}).get("total_issues_by_severity", {})
    return _worst([severity for severity, count in found.items() if count])


def _fickling(report: str, said: str) -> str:
    """It writes one table behind another where pickles follow each other."""
    del said
    grades = {"OVERTLY_MALICIOUS": "critical", "LIKELY_OVERTLY_MALICIOUS": "critical", "LIKELY_UNSAFE": "high"}
    grades |= {"SUSPICIOUS": "medium", "POSSIBLY_UNSAFE": "low"}
    return _worst([grades.get(grade, "") for grade in re.findall(r'"severity": "(\w+)"', report)])


def _table(report: str) -> dict[str, Any]:
    """What a tool that was ended has half written counts as nothing."""
    try:
        return dict(json.loads(report))
    except ValueError:
        return {}
