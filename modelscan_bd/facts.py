"""What can be said of a model's file without turning it into a network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from modelscan_bd.results import ModelFacts


def file_facts(model: str) -> ModelFacts:
    """All but its name and digest is left open."""
    path = Path(model)
    sha256 = None
    if path.is_file():
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFacts(
        path=printable(model),
        sha256=sha256,
        format=None,
        architecture=None,
        num_classes=None,
        input=None,
        preprocessing=None,
    )


def printable(path: str) -> str:
    """A file name need not be Unicode; a report must be."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
