"""The table of error rates: what stands in a cell follows from the scores, and weak models count on neither side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from modelscan_bd.bench.groups import groups
from modelscan_bd.bench.store import FILE, TRUTH, Cell, Setup, opened
from modelscan_bd.bench.table import lines, markdown
from modelscan_bd.cli import main
from modelscan_bd.types import Tier


def _result(
    score: float, outcome: str, attack: str | None = None, top: int = 0, dataset: str = "signs"
) -> dict[str, Any]:
    target = None if attack is None else 4
    known = {"attack": attack, "outcome": outcome, "target_label": target, "dataset": dataset, "arch": "cnn-w8"}
    truth = dict.fromkeys(TRUTH) | known
    return {
        "scores": {"pixel": {"smallness": score}},
        "top": {"pixel": {"smallness": top}},
        "seconds": {"pixel": score},
        "unmeasured": {},
        "truth": truth,
    }


RESULTS = [
    *(_result(score, "benign") for score in (1.0, 2.0, 3.0, 4.0)),
    _result(9.0, "infected", "badnets", top=4),
    _result(3.5, "infected", "wanet", top=1),
    _result(0.0, "weak", "wanet"),
]


def test_a_cell_counts_models_wins_and_named_targets() -> None:
    (line,) = lines(RESULTS, {"badnets": "patch", "wanet": "warp"}.__getitem__)
    assert line.seconds == 3.0  # the weak one took time as well
    assert {name: (cell.infected, cell.auroc) for name, cell in line.cells.items()} == {
        "all": (2, 7 / 8),
        "patch": (1, 1.0),
        "warp": (1, 3 / 4),
    }
    whole = line.cells["all"]
    assert (whole.benign, whole.hits, whole.named, whole.tpr) == (4, 1, 2, 0.5)
    assert whole.interval[0] <= whole.auroc <= whole.interval[1]


def test_a_score_without_infected_models_has_no_line() -> None:
    assert list(lines(RESULTS[:4], str)) == []


def test_every_attack_belongs_to_a_group_and_the_plainest_ones_where_one_expects_them() -> None:
    found = groups()
    assert (found["badnets"], found["wanet"], found["sig"], found["shadow-logic"]) == (
        "patch", "warp or tone", "clean label", "structure",
    )  # fmt: skip
    assert (found["all-to-all"], found["tact"], found["adaptive-patch"], found["tbt"]) == (
        "all-to-all", "source-specific", "adaptive", "weight edit",
    )  # fmt: skip


def kept(file: Path, results: list[dict[str, Any]], tier: Tier) -> None:
    setup = Setup(tier=tier, images=100, seed=0)
    with opened(file) as store:
        for number, result in enumerate(results):
            store.enter(f"model {number}", "", result["truth"])
            measured = {key: result[key]["pixel"] for key in ("scores", "top", "seconds")}
            store.add(
                Cell(model=f"model {number}", detector="pixel", setup=setup, status="ok", tool="", date="", **measured)
            )


def asked(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["benchmark", "table", *map(str, arguments)])


def test_the_command_prints_a_table_of_the_chosen_data_sets(tmp_path: Path) -> None:
    kept(tmp_path / FILE, [*RESULTS, _result(99.0, "benign", dataset="mnist")], Tier.IMAGES)
    shown = asked(tmp_path, "--dataset", "signs")
    assert shown.stdout == markdown(list(lines(RESULTS, lambda attack: groups()[attack])))
    (line,) = json.loads(asked(tmp_path / FILE, "--json", "--by-attack").stdout)
    assert line["cells"]["badnets"]["benign"] == 5


def test_models_measured_with_images_and_without_are_never_counted_as_one_kind(tmp_path: Path) -> None:
    kept(tmp_path / FILE, RESULTS, Tier.IMAGES)
    kept(tmp_path / FILE, RESULTS[1:], Tier.NONE)
    assert asked(tmp_path).exit_code == 2
    assert "--tier images or --tier none" in asked(tmp_path).stderr
    (line,) = json.loads(asked(tmp_path, "--json", "--tier", "none").stdout)
    assert line["cells"]["all"]["benign"] == 3
