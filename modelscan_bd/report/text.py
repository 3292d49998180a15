"""The report for a terminal: the verdict first, then what stands behind it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modelscan_bd.inputs import Tier
from modelscan_bd.report.escape import plain
from modelscan_bd.report.foremost import foremost
from modelscan_bd.results import Evidence, Finding, Judgement, Outcome, Report, Verdict

_COLUMNS = 100  # characters, where no terminal says otherwise
_STYLES = {
    Verdict.BENIGN: "bold green",
    Verdict.SUSPICIOUS: "bold yellow",
    Verdict.INFECTED: "bold red",
    Verdict.MALICIOUS: "bold white on red",
    Verdict.INCONCLUSIVE: "bold magenta",
}


def render(report: Report, pictures: Mapping[str, tuple[str, ...]]) -> str:
    """Plain text, the same on every machine."""
    console = Console(file=io.StringIO(), width=_COLUMNS, color_system=None, legacy_windows=False, emoji=False)
    with console.capture() as captured:
        console.print(view(report, pictures))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def view(report: Report, pictures: Mapping[str, tuple[str, ...]]) -> Group:
    """What rich prints. Nothing in it is markup, so nothing from the file can be."""
    return Group(*_blocks(report, pictures))


def _blocks(report: Report, pictures: Mapping[str, tuple[str, ...]]) -> Iterator[Text | Table | Padding]:
    yield _headline(report)
    yield Text(plain(report.summary))
    yield Text()
    yield _model(report)
    for finding in report.findings:
        yield Text()
        yield from _finding(finding)
    if report.judgement:
        yield Text("\nCompared with", style="bold")
        yield _judgement(report.judgement)
    if report.evidence:
        yield Text("\nDetectors", style="bold")
        yield _detectors(report.evidence)
    yield from _sentences("Not examined", report.incomplete)
    failed = [f"{check.message} {check.remedy}".strip() for check in report.preflight if not check.passed]
    yield from _sentences("Failed checks", [one for one in failed if one not in report.incomplete])
    yield from _sentences("Notes", report.model.notes)
    yield from _sentences("Recovered triggers", _folders(pictures))
    yield Text(f"\n{report.tool}, seed {report.seed}, {report.seconds:.1f} s", style="dim")


def _headline(report: Report) -> Text:
    targets = ", ".join(map(str, report.target_labels))
    return Text.assemble(
        (report.verdict.value.upper(), _STYLES[report.verdict]),
        f"   score {report.score:.2f}",
        f"   target label {targets}" if targets else "",
    )


def _model(report: Report) -> Table:
    model, grid = report.model, _grid()
    grid.add_row("model", plain(model.path))
    grid.add_row("sha256", model.sha256 or "unknown")
    if model.architecture is not None:
        shape = "x".join(map(str, model.input or ()))
        grid.add_row(
            "network", plain(f"{model.architecture} ({model.format}), {model.num_classes} classes, input {shape}")
        )
    if model.preprocessing is not None:
        grid.add_row("input", plain(f"{model.preprocessing.source}: {model.preprocessing.detail}".removesuffix(": ")))
    return grid


def _finding(finding: Finding) -> Iterator[Text | Padding]:
    grade = f"{finding.rule}  {finding.severity.value} (confidence {finding.confidence.value})"
    yield Text(grade, style="bold")
    where = f" [{finding.place}]" if finding.place else ""
    yield Padding(Text(plain(f"{finding.message}{where}")), (0, 0, 0, 2))
    yield Padding(Text(plain(finding.remedy)), (0, 0, 0, 2))


def _judgement(judgement: Judgement) -> Table:
    grid = _grid()
    images = "with clean images" if judgement.tier is Tier.IMAGES else "without images"
    grid.add_row("models", f"{judgement.benign} benign ones, measured {images}; {plain(judgement.stratum)}")
    grid.add_row("as unusual", f"p = {judgement.p:.3g}, extrapolated {judgement.tail:.2g}")
    found = ", ".join(f"{one.kind} {one.found}/{one.models}" for one in judgement.reach)
    if found:
        grid.add_row("finds", Text(f"of known infected models: {plain(found)}"))
    return grid


def _detectors(outcomes: tuple[Outcome, ...]) -> Table:
    grid = _grid()
    for outcome in outcomes:
        if isinstance(outcome, Evidence):
            scores = ", ".join(f"{name} {value:.3g}" for name, value in outcome.scores.items())
            grid.add_row(outcome.detector, outcome.status, Text(f"{scores}   {outcome.seconds:.1f} s"))
            if details := foremost(outcome):
                grid.add_row("", "", details)
        else:
            grid.add_row(outcome.detector, outcome.status, Text(plain(outcome.reason)))
    return grid


def _folders(pictures: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The folders with pictures in them; the other formats name each file."""
    return sorted({file.rpartition("/")[0] for files in pictures.values() for file in files})


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=True)
    grid.add_column(no_wrap=True)
    return grid


def _sentences(title: str, sentences: tuple[str, ...] | list[str]) -> Iterator[Text | Padding]:
    if sentences:
        yield Text(f"\n{title}", style="bold")
    for sentence in sentences:
        yield Padding(Text(plain(sentence)), (0, 0, 0, 2))
