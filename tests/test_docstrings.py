"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import modelscan_bd
import modelscan_bd.detectors

# the mapped folder is walked on its own: an editable install does not list it below the package
MODULES = [
    *(m.name for m in pkgutil.walk_packages(modelscan_bd.__path__, "modelscan_bd.") if not m.name.endswith("__main__")),
    *(m.name for m in pkgutil.iter_modules(modelscan_bd.detectors.__path__, "modelscan_bd.detectors.")),
]


@pytest.mark.parametrize("name", sorted(set(MODULES)))
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_walk_found_both_folders_and_at_least_one_example() -> None:
    assert {"modelscan_bd.judge", "modelscan_bd.detectors.mm_bd"} <= set(MODULES)
    finder = doctest.DocTestFinder()
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert examples
