"""`bdscan audit FILE...`: what files would do to whoever loads them, told in a moment, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from modelscan_bd.errors import UsageError
from modelscan_bd.grades import Severity

if TYPE_CHECKING:
    from modelscan_bd.audit import Remark
    from modelscan_bd.rulebook import Rulebook

Told: TypeAlias = Mapping[Path, "tuple[Remark, ...]"]

_ORDER = tuple(Severity)
# rules that say that not all was looked at, and from which severity on
_UNREAD = {"BD903": Severity.LOW, "BD906": Severity.LOW, "BD908": Severity.MEDIUM, "BD925": Severity.LOW}
_OTHER_FORMAT = "BD932"


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a .json report.")
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in _ORDER[1:]]),
    default=Severity.MEDIUM.value,
    show_default=True,
    help="The severity from which the exit code is 1.",
)
@click.option("--allow-incomplete", is_flag=True, help="Exit with 0, not 3, where not everything could be read.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def audit(
    ctx: click.Context,
    files: tuple[Path, ...],
    report: Path | None,
    fail_on: str,
    allow_incomplete: bool,
    quiet: bool,
) -> None:
    """Reads files for what they would do to their loader. Nothing is loaded, nothing of the network is measured."""
    from modelscan_bd import rulebook

    book = rulebook.load()
    told = {file: _remarks(file, book) for file in files}
    if report:
        _write(report, told)
    if not quiet:
        for file, remarks in told.items():
            click.echo(_text(file, remarks), nl=False)
    ctx.exit(exit_code(told.values(), Severity(fail_on), allow_incomplete=allow_incomplete))


def _remarks(file: Path, book: Rulebook) -> tuple[Remark, ...]:
    """Upon the file and, where it can be read without being run, upon its graph; the gravest first."""
    from modelscan_bd import audit as auditing
    from modelscan_bd.graph import onnx_file
    from modelscan_bd.graph_findings import graph_findings

    of_graph = (
        auditing.Remark(
            rule=one.rule, severity=one.severity, confidence=one.confidence, message=one.message, place=one.place
        )
        for one in graph_findings(onnx_file.sights(file), book)
    )
    return tuple(sorted((*auditing.audit(file), *of_graph), key=lambda one: -_ORDER.index(one.severity)))


def exit_code(told: Iterable[tuple[Remark, ...]], fail_on: Severity, *, allow_incomplete: bool) -> int:
    """1 from `fail_on` on, else 3 where something was not read, else 0."""
    remarks = [remark for of_file in told for remark in of_file]
    if any(_ORDER.index(remark.severity) >= _ORDER.index(fail_on) for remark in remarks):
        return 1
    return 3 if any(map(_unread, remarks)) and not allow_incomplete else 0


def _unread(remark: Remark) -> bool:
    if remark.rule == _OTHER_FORMAT:
        return not remark.place  # a picture or a list of words inside an archive is nothing that a loader reads
    return remark.rule in _UNREAD and _ORDER.index(remark.severity) >= _ORDER.index(_UNREAD[remark.rule])


def _text(file: Path, remarks: tuple[Remark, ...]) -> str:
    """One line for the file, and one for each remark upon it, the gravest first."""
    from modelscan_bd.audit.texts import shown

    lines = [f"{shown(str(file), 200)}: {remarks[0].severity if remarks else 'nothing found'}"]
    for remark in remarks:
        place = f" [{remark.place}]" if remark.place else ""
        lines.append(f"  {remark.severity:8} {remark.rule}  {remark.message}{place}")
    return "".join(f"{line}\n" for line in lines)


def _write(report: Path, told: Told) -> None:
    from modelscan_bd import __version__

    if report.suffix.lower() != ".json":
        raise UsageError(f"'{report}' does not end in .json", remedy="An audit is written as JSON only.")
    files = [{"path": str(file), "findings": [asdict(remark) for remark in told[file]]} for file in told]
    content = {"tool": f"bdscan {__version__}", "files": files}
    try:
        report.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error}") from error
