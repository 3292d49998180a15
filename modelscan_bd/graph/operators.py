"""Which part an operator plays, by the table `rules/graph_operators.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from modelscan_bd.graph.ir import Role

_TABLE = "graph_operators.csv"


@cache
def roles(dialect: str) -> Mapping[str, Role]:
    """Operators of a dialect ("onnx", "aten") and what each does."""
    text = (files("modelscan_bd.rules") / _TABLE).read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["dialect"] == dialect]
    return {name: Role(row["role"]) for row in rows for name in row["names"].split()}


def role(dialect: str, operator: str) -> Role:
    return roles(dialect).get(operator, Role.OTHER)
