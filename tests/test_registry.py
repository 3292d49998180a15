"""Plug-ins come in by one door, and a door with two people of one name is an error."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from modelscan_bd import registry
from modelscan_bd.errors import UsageError

INSTALLED = registry.installed()
ONE = next(iter(INSTALLED))


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=registry.GROUP)


def value_of(name: str) -> str:
    plugin = type(INSTALLED[name])
    return f"{plugin.__module__}:{plugin.__name__}"


def test_every_installed_detector_is_found_under_its_own_id() -> None:
    assert all(name == detector.card.id for name, detector in INSTALLED.items())
    assert list(INSTALLED) == sorted(INSTALLED)


def test_two_detectors_of_one_id_are_an_error() -> None:
    with pytest.raises(UsageError, match=f"two installed packages offer a detector '{ONE}'"):
        registry.by_id([entry(ONE, value_of(ONE)), entry(ONE, "somewhere.else:Detector")])


def test_a_plug_in_that_does_not_import_is_named() -> None:
    with pytest.raises(UsageError, match=r"'ghost' \(no\.such\.module:Ghost\) does not load"):
        registry.by_id([entry("ghost", "no.such.module:Ghost")])


def test_a_plug_in_under_a_false_name_is_an_error() -> None:
    with pytest.raises(UsageError, match=f"calls itself '{ONE}'"):
        registry.by_id([entry("alias", value_of(ONE))])


def test_selection_keeps_the_order_asked_for_and_drops_repeats() -> None:
    backwards = list(reversed(INSTALLED))
    assert [d.card.id for d in registry.select([*backwards, ONE], INSTALLED)] == backwards
    assert [d.card.id for d in registry.select([], INSTALLED)] == list(INSTALLED)


def test_an_unknown_detector_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=f"no detector 'nope'.*{ONE}"):
        registry.select(["nope"], INSTALLED)
