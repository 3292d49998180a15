"""What an audit of the file says, as findings: before anything in it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from modelscan_bd.audit import Remark, audit
from modelscan_bd.grades import Severity
from modelscan_bd.graph import onnx_file
from modelscan_bd.graph_findings import graph_findings
from modelscan_bd.results import Finding
from modelscan_bd.rulebook import Rulebook
from modelscan_bd.settings import Settings
from modelscan_bd.verdict import by_severity

_WHOLE = 1.0  # of a fact: it is so


def file_findings(settings: Settings, book: Rulebook) -> tuple[Finding, ...]:
    """Findings of low severity and above on the files that a scan reads, the gravest first.

    Raises UnreadableModel for a file too large to be read.
    """
    return of_files(_files(settings), book)


def of_files(files: Iterable[Path], book: Rulebook) -> tuple[Finding, ...]:
    """The same of any files."""
    found = [one for file in files for one in _of_file(file, book)]
    return by_severity(one for one in found if one.severity is not Severity.INFO)


def _of_file(file: Path, book: Rulebook) -> Iterator[Finding]:
    found = [finding(remark, book) for remark in audit(file)]
    yield from found
    if not any(one.severity is Severity.CRITICAL for one in found):
        yield from graph_findings(onnx_file.sights(file), book)


def finding(remark: Remark, book: Rulebook) -> Finding:
    """The remark with what its rule advises."""
    return Finding(
        rule=remark.rule,
        severity=remark.severity,
        confidence=remark.confidence,
        value=_WHOLE,
        threshold=_WHOLE,
        target_label=None,
        message=remark.message,
        remedy=book.find(remark.rule).remedy,
        place=remark.place,
    )


def _files(settings: Settings) -> Iterator[Path]:
    """What is there to be read; what is not, is the loader's to complain of."""
    for named in (Path(settings.model), settings.weights):
        if named is not None and named.is_file():
            yield named
        elif named is not None and named.is_dir():
            yield from sorted(file for file in named.iterdir() if file.is_file())
