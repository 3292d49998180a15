"""The report as one HTML page, which needs no other file. The layout is `report.html.j2`; what it shows is escaped."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from modelscan_bd.bench.calibrate import FEWEST
from modelscan_bd.bench.facts import learnt_from
from modelscan_bd.bench.groups import groups
from modelscan_bd.bench.protocol import Rate
from modelscan_bd.bench.report import figures
from modelscan_bd.bench.report.document import Document
from modelscan_bd.bench.report.plain import rows
from modelscan_bd.bench.report.power import FEW, OUT_OF_MEAN, Power
from modelscan_bd.bench.table import best
from modelscan_bd.report.escape import plain
from modelscan_bd.types import Tier

_NONE = "\N{EN DASH}"


def render(document: Document) -> str:
    environment = Environment(
        autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"rate": rate, "auroc": auroc, "digits": digits}
    template = files("modelscan_bd.bench.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        document=document,
        figures=figures,
        kinds=groups(),
        rows=list(rows(document)),
        best=best,
        learners=tuple(learnt_from()),
        out_of_mean=OUT_OF_MEAN,
        few=FEW,
        fewest=FEWEST,
        none_=_NONE,
        with_=with_,
    )


def _shown(value: object) -> object:
    """Text that may come from a file loses what a reader's eye would obey; a figure that is missing is a dash."""
    if value is None:
        return _NONE
    return plain(value) if type(value) is str else value


def with_(tier: Tier) -> str:
    return "with clean images" if tier is Tier.IMAGES else "without images"


def rate(one: Rate | None) -> str:
    """As "12 of 14: 86 % (60 to 96 %)"."""
    if one is None or not one.n:
        return _NONE
    low, high = one.interval
    return f"{one.count} of {one.n}: {one.share:.0%} ({low:.0%} to {high:.0%})"


def auroc(one: Power) -> str:
    if one.auroc is None:
        return _NONE
    return f"{one.auroc:.3f}" + (f" ({one.interval[0]:.2f} to {one.interval[1]:.2f})" if one.interval else "")


def digits(value: float | None, count: int = 3) -> str:
    return _NONE if value is None else f"{value:.{count}f}"
