"""What runs at which effort, and in which order."""

from __future__ import annotations

import pytest

from modelscan_bd import registry, rulebook, schedule
from modelscan_bd.types import Effort

BOOK = rulebook.load()
ALL = registry.installed()


def _ids(effort: Effort) -> list[str]:
    return [detector.card.id for detector in schedule.plan(ALL, BOOK, effort=effort)]


def test_each_effort_does_what_those_before_it_do_and_more() -> None:
    quick, standard, thorough = (set(_ids(effort)) for effort in Effort)
    assert quick < standard < thorough == set(ALL)


def test_what_is_chosen_runs_whatever_it_costs() -> None:
    dear = next(name for name, detector in ALL.items() if detector.card.effort is Effort.THOROUGH)
    (found,) = schedule.plan(ALL, BOOK, chosen=[dear], effort=Effort.QUICK)
    assert found.card.id == dear


@pytest.mark.parametrize("effort", list(Effort))
def test_what_tells_most_per_second_comes_first(effort: Effort) -> None:
    values = [schedule.worth(ALL[name].card, BOOK) for name in _ids(effort)]
    assert values == sorted(values, reverse=True)


def test_what_is_not_run_is_named() -> None:
    planned = schedule.plan(ALL, BOOK, effort=Effort.QUICK)
    assert set(schedule.left_out(ALL.values(), planned)) == set(ALL) - {d.card.id for d in planned}


def test_what_compares_with_a_reference_runs_where_there_is_one_or_where_it_is_asked_for() -> None:
    """Every scan without a reference once said that a detector could not measure the model."""
    without = {d.card.id for d in schedule.plan(ALL, BOOK, effort=Effort.THOROUGH, reference=False)}
    assert set(ALL) - without == {"reference-diff"}
    assert schedule.plan(ALL, BOOK, chosen=["reference-diff"], reference=False)
