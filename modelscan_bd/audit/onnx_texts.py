"""Texts in an ONNX file: who wrote it, what it is for, and commands that somebody's tool may be tricked to run."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from modelscan_bd.audit.onnx_walk import called, joined, scopes
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.sayings import remarks as said
from modelscan_bd.grades import Severity

_OF_EXPORTERS = ("pkg.", "namespace")  # stack traces and the like, which hold lines of Python


def remarks(model: onnx.ModelProto, name: str) -> Iterator[Remark]:
    for entry in (*model.metadata_props, *model.graph.metadata_props):
        yield from said(f"{entry.key} = {entry.value}", "BD926", f"metadata of {name}", entry.key[:80])
    for what in ("producer_name", "producer_version", "domain", "doc_string"):
        yield from said(getattr(model, what), "BD926", f"{what} of {name}", what)
    for scope in scopes(model):
        yield from _small_print(scope.graph.doc_string, name, joined(scope.place, "doc_string"))
        for node in scope.graph.node:
            texts = [node.doc_string, *(e.value for e in node.metadata_props if not e.key.startswith(_OF_EXPORTERS))]
            for text in filter(None, texts):
                yield from _small_print(text, name, joined(scope.place, called(node)))


def _small_print(text: str, name: str, place: str) -> Iterator[Remark]:
    """Exporters keep lines of the network's source here: only what looks like an attack is worth a word."""
    yield from said(text, "BD926", f"comment in {name}", place, source=True, least=Severity.LOW)
