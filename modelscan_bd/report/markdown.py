"""The report for a merge request or a ticket. The layout is `report.md.j2`; every expression in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from modelscan_bd.report.escape import code, markdown
from modelscan_bd.report.foremost import foremost
from modelscan_bd.results import Report


def render(report: Report, pictures: Mapping[str, tuple[str, ...]]) -> str:
    """GitHub-flavoured Markdown."""
    environment = Environment(
        autoescape=False, finalize=_escaped, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "code": lambda text: Markup(code(str(text))),
        "number": lambda value: f"{value:.3g}",
        "foremost": foremost,
    }
    template = files("modelscan_bd.report").joinpath("report.md.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(report=report, pictures=pictures) + "\n"


def _escaped(value: object) -> str:
    """What the template's own filters made is Markdown already; everything else is text."""
    return str(value) if isinstance(value, Markup) else markdown(str(value))
