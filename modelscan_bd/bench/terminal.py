"""The table for a terminal: each detector's best score, and how well it sees each kind of attack."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelscan_bd.bench.facts import countable
from modelscan_bd.bench.groups import groups
from modelscan_bd.bench.store import Result
from modelscan_bd.bench.table import ALL, Line, best, lines
from modelscan_bd.report.escape import plain
from modelscan_bd.types import Tier

_TITLES = {Tier.IMAGES: "With clean images", Tier.NONE: "Without images"}
_WIDTH = 170  # letters; a pipe has no width of its own


def shown(results: Sequence[Result]) -> str:
    """One table for each tier. The figures of a kind are AUROCs."""
    kinds, found = groups(), countable(results)
    parts = []
    for tier, title in _TITLES.items():
        here = [result for result in found if result["tier"] is tier]
        if here:
            parts += [f"\n{title}", _table(best(lines(here, lambda id: kinds.get(id, id))))]
    return "\n".join(parts)


def _table(found: Sequence[Line]) -> str:
    if not found:
        return "No score was measured on both benign and infected models.\n"
    names = [ALL, *sorted({name for line in found for name in line.cells} - {ALL})]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("detector", "score"):
        table.add_column(name, no_wrap=True)
    for head in ("s", "TPR at\n5% FPR", "target\nnamed"):
        table.add_column(head, justify="right")
    for name in names:
        table.add_column(_head(name, found), justify="right")
    for line in found:
        table.add_row(*(Text(plain(value)) for value in _row(line, names)))
    out = io.StringIO()
    Console(file=out, width=_WIDTH, highlight=False, color_system=None).print(table)
    return "\n".join(row.rstrip() for row in out.getvalue().splitlines()) + "\n"


def _head(name: str, found: Sequence[Line]) -> Text:
    """A kind in as little width as its words allow, and its number of infected models."""
    most = max(line.cells[name].infected for line in found if name in line.cells)
    return Text(plain(name).replace(" ", "\n").replace("-", "-\n") + f"\n({most})", justify="right")


def _row(line: Line, names: Sequence[str]) -> list[str]:
    whole = line.cells[ALL]
    low, high = whole.tpr_interval
    target = f"{whole.hits}/{whole.named}" if whole.named else ""
    tpr = f"{whole.tpr:.2f} ({low:.2f}-{high:.2f})"
    figures = [f"{line.cells[name].auroc:.2f}" if name in line.cells else "" for name in names]
    return [line.detector, line.score, f"{line.seconds:.1f}", tpr, target, *figures]
