"""Reports: each format is a file, and knows only the Report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from modelscan_bd.errors import UsageError
from modelscan_bd.results import Report

FORMATS: Mapping[str, str] = {".json": "json", ".md": "markdown", ".txt": "text"}
Pictures = Mapping[str, tuple[str, ...]]  # detector → the files its artefacts were saved in


def format_of(path: Path) -> str:
    """The format that a file's extension names. Raises UsageError for an extension that none has."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise UsageError(f"'{path}' does not say which format it should have", remedy=f"Known are: {known}.") from None


def render(report: Report, format: str, *, pictures: Pictures | None = None) -> str:
    """The report as text in `json`, `markdown` or `text`. Raises UsageError for another format."""
    from modelscan_bd.report import json, markdown, text

    renderers: dict[str, Callable[[Report, Pictures], str]] = {
        "json": json.render,
        "markdown": markdown.render,
        "text": text.render,
    }
    if format not in renderers:
        raise UsageError(f"there is no report format '{format}'", remedy=f"Known are: {', '.join(renderers)}.")
    return renderers[format](report, pictures or {})
