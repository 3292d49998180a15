"""Compares bdscan's audit of files with picklescan, modelscan, fickling and modelaudit, on the audit's own corpora.

    python -m venv others && others/bin/pip install picklescan[7z] modelscan fickling "modelaudit[onnx,safetensors]"
    python tests/compare_scanners.py others/bin --runs runs.csv [--tools "bdscan audit,picklescan"] [--every 10]

Writes every file of `tests/audit` (malicious, hostile, benign; payloads would touch a canary) into a temporary folder,
runs each tool on each file as a process of its own, with 60 seconds and 4 GB, and adds a row to the CSV after each run;
started again it goes on where it ended. Then it prints a table. A file's extension is the one such files have.

Exit codes: 1 is an alarm for all; 2 (an error, or incomplete) and 3 (nothing read) are refusals. Severities are mapped:
modelaudit's warning is medium; an alarm of picklescan is critical; fickling's LIKELY_UNSAFE is high. modelaudit sends
telemetry unless PROMPTFOO_DISABLE_TELEMETRY=1 is set, and it is set here. CPU seconds are what to compare on a machine
that does other things too. "bdscan" is the whole scan (`--effort quick --timeout 20`), and best run with --every.
Needs a POSIX system. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from scanner_runs import SEVERITIES, Run, Tool, run, tools

PICKLES, OTHERS, HOSTILE, TEXT, BENIGN = "malicious pickle", "malicious other", "hostile", "text", "benign"
GROUPS = (PICKLES, OTHERS, HOSTILE, TEXT, BENIGN)
GIB = 2**30


def main() -> None:
    options = parsed()
    chosen = [tool for tool in tools(options.scanners) if tool.name in options.tools.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen, Path(folder), options)
    runs = [one for one in read(options.runs) if one.tool in options.tools.split(",")]
    print(table(runs))
    for tool in ("bdscan audit", "bdscan"):
        print(wrong(tool, runs))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scanners", type=Path, help="where the commands of the others are")
    parser.add_argument("--runs", type=Path, required=True, help="the CSV to write and to go on with")
    parser.add_argument("--tools", default="bdscan audit,modelaudit,picklescan,picklescan --strict,modelscan,fickling")
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--every", type=int, default=1, help="run each n-th file only")
    parser.add_argument("--seconds", type=float, default=60.0)
    return parser.parse_args()


def measure(chosen: Sequence[Tool], folder: Path, options: argparse.Namespace) -> None:
    canary, scratch = folder / "canary", folder / "scratch"
    scratch.mkdir()
    files = written(folder / "files", canary)
    files = [file for file in files if file["group"] in options.groups.split(",")][:: options.every]
    done = {(one.tool, one.group, one.name) for one in read(options.runs)}
    for number, file in enumerate(files):
        for tool in chosen:
            if (tool.name, file["group"], file["name"]) not in done:
                path = Path(file["path"])
                append(options.runs, run(tool, file["group"], file["name"], path, canary, scratch, options.seconds))
        print(f"\r{number + 1}/{len(files)}", end="", file=sys.stderr)
    print(file=sys.stderr)


def written(folder: Path, canary: Path) -> list[dict[str, str]]:
    """By another process: a child's peak memory counts what its parent held when it was made."""
    script = Path(__file__).parent / "audit" / "everything.py"
    done = subprocess.run([sys.executable, script, folder, canary], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def append(path: Path, one: Run) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Run)])
        if new:
            writer.writeheader()
        writer.writerow(one.row())


def read(path: Path) -> list[Run]:
    if not path.exists():
        return []
    kinds: dict[str, Callable[[str], object]] = {"exit": int, "memory": int, "wall": float, "cpu": float}
    kinds |= dict.fromkeys(("traceback", "hung", "canary"), lambda text: text == "True")
    with path.open(newline="") as file:
        rows = [{name: kinds.get(name, str)(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [Run(**row) for row in rows]  # type: ignore[arg-type]


# ---------------------------------------------------------------- the table


def at_least(severity: str) -> Callable[[Run], bool]:
    return lambda one: SEVERITIES.index(one.severity) >= SEVERITIES.index(severity)


# what is counted: its name, the groups it is counted in, and when
COUNTS: tuple[tuple[str, tuple[str, ...], Callable[[Run], bool]], ...] = (
    ("malicious pickles and archives: alarm (exit 1)", (PICKLES,), lambda one: one.exit == 1 and not one.traceback),
    ("... passed (exit 0)", (PICKLES,), lambda one: one.exit == 0),
    ("malicious ONNX, safetensors, TorchScript, pt2: alarm", (OTHERS,), lambda one: one.exit == 1),
    ("... passed", (OTHERS,), lambda one: one.exit == 0),
    ("all malicious: not exit 0", (PICKLES, OTHERS), lambda one: one.exit != 0),
    ("all malicious: high or critical", (PICKLES, OTHERS), at_least("high")),
    ("benign: alarm, or medium and above", (BENIGN,), lambda one: one.exit == 1 or at_least("medium")(one)),
    ("benign: refused (exit 2 or 3)", (BENIGN,), lambda one: one.exit in (2, 3)),
    ("hostile: passed", (HOSTILE,), lambda one: one.exit == 0),
    ("texts that a careless tool would run: passed", (TEXT,), lambda one: one.exit == 0),
    ("all: traceback", GROUPS, lambda one: one.traceback),
    ("all: ended by a signal", GROUPS, lambda one: one.exit < 0 and not one.hung),
    ("all: hung (60 s)", GROUPS, lambda one: one.hung),
    ("all: over 20 s of CPU", GROUPS, lambda one: one.cpu > 20),
    ("all: over 1 GB", GROUPS, lambda one: one.memory > GIB),
    ("all: canary touched", GROUPS, lambda one: one.canary),
)


def table(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(one.tool for one in runs))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for what, groups, counted in COUNTS:
        lines.append(row(what, (_share(runs, name, groups, counted) for name in names)))
    lines.append(
        row("CPU seconds, median and worst", (_spread(runs, name, lambda one: one.cpu, 1, 2) for name in names))
    )
    lines.append(
        row("MB at most, median and worst", (_spread(runs, name, lambda one: one.memory, 2**20, 0) for name in names))
    )
    return "\n".join(lines)


def row(what: str, cells: Iterable[str]) -> str:
    return f"| {what} | " + " | ".join(cells) + " |"


def _share(runs: Sequence[Run], tool: str, groups: tuple[str, ...], counted: Callable[[Run], bool]) -> str:
    asked = [one for one in runs if one.tool == tool and one.group in groups]
    return f"{sum(map(counted, asked))} of {len(asked)}"


def _spread(runs: Sequence[Run], tool: str, of: Callable[[Run], float], unit: float, digits: int) -> str:
    values = [of(one) / unit for one in runs if one.tool == tool]
    return f"{statistics.median(values):.{digits}f}, {max(values):.{digits}f}"


def wrong(tool: str, runs: Iterable[Run]) -> str:
    """What a tool missed, or accused wrongly, one line each."""
    lines = []
    for one in runs:
        missed = one.group in (PICKLES, OTHERS) and (one.exit == 0 or not at_least("high")(one))
        passed = one.group == HOSTILE and one.exit == 0
        accused = one.group == BENIGN and (one.exit != 0 or at_least("medium")(one))
        if one.tool == tool and (missed or passed or accused or one.traceback or one.hung or one.exit < 0):
            lines.append(f"{tool}: {one.group} '{one.name}': exit {one.exit}, {one.severity or 'no severity'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
