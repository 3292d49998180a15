"""A zoo of one untrained network: measured once, with the truth beside it, then left alone."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from modelscan_bd import nets
from modelscan_bd.bench.engine import Here, Processes
from modelscan_bd.bench.measure import Conditions, measure, named, plan
from modelscan_bd.bench.store import Cell, Result, opened, read
from modelscan_bd.bench.truth import known
from modelscan_bd.cli import main
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Tier

CARD = {
    "attack": "badnets", "outcome": "infected", "target_label": 1, "ba": 0.9, "asr": 1.0, "dataset": "signs",
    "arch": "cnn-w16", "seed": 0,
}  # fmt: skip
FREE = Conditions(images={}, detectors=("mm-bd",))
BOTH = replace(FREE, detectors=("mm-bd", "channel-lipschitz"))


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo" / "one"
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(nets.build("cnn-w16", classes=10).state_dict(), folder / "weights.safetensors")
    written(folder, {})
    return folder.parent


def written(folder: Path, more: dict[str, object]) -> None:
    (folder / "card.json").write_text(json.dumps(CARD | {"file": "weights.safetensors"} | more), encoding="utf-8")


def measured(zoo: Path, conditions: Conditions) -> tuple[list[Cell], Result]:
    """The cells that were measured now, and all that is in the store."""
    file = zoo.parent / "results.sqlite"
    with opened(file) as store:
        cells = list(measure(plan(named(zoo), conditions, store), store, Here()))
    (result,) = read([file])
    return cells, result


def test_a_zoo_is_measured_once(zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "results.sqlite"
    arguments = ["benchmark", "measure", str(zoo), "--detectors", "mm-bd,mm-bd-cso", "--out", str(out)]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert "2 cells: 1 measured, 1 skipped, 0 failed" in first.stdout
    (result,) = read([out])
    assert CARD.items() <= result["truth"].items()
    assert (result["model"], result["tier"], result["images"]) == ("one", Tier.NONE, 100)
    assert result["seconds"]["mm-bd"] > 0
    assert 0 <= result["top"]["mm-bd"]["margin_index"] < 10
    assert result["status"] == {"mm-bd": "ok", "mm-bd-cso": "skipped"}
    assert "clean images" in result["unmeasured"]["mm-bd-cso"]
    assert "measured before" in CliRunner().invoke(main, arguments).stdout
    assert read([out]) == [result]


def test_images_that_are_missing_are_named(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no images for the dataset 'signs'"):
        measured(zoo, replace(FREE, images={"cifar10": tmp_path}))


def test_an_empty_zoo_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["benchmark", "measure", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "no folder with card.json" in result.stderr


@pytest.mark.parametrize(
    ("card", "complaint"),
    [("{", "cannot be read"), ("[]", "describes no model"), ("{}", "says nothing of"), (None, "cannot be read")],
)
def test_a_card_that_says_too_little_is_named(card: str | None, complaint: str, zoo: Path) -> None:
    if card is None:
        (zoo / "one" / "weights.safetensors").unlink()
    else:
        (zoo / "one" / "card.json").write_text(card)
    with pytest.raises(UsageError, match=complaint):
        measured(zoo, FREE)


def test_only_what_is_missing_is_measured_and_the_rest_is_kept(zoo: Path) -> None:
    first, before = measured(zoo, FREE)
    second, after = measured(zoo, BOTH)
    assert [cell.detector for cell in (*first, *second)] == ["mm-bd", "channel-lipschitz"]
    assert after["scores"]["mm-bd"] == before["scores"]["mm-bd"]
    assert set(after["status"]) == {"mm-bd", "channel-lipschitz"}
    assert not measured(zoo, BOTH)[0]
    again, _ = measured(zoo, replace(BOTH, again=("mm-bd",)))
    assert [(cell.detector, cell.scores) for cell in again] == [("mm-bd", before["scores"]["mm-bd"])]


def test_the_truth_is_what_the_card_now_says(zoo: Path) -> None:
    measured(zoo, FREE)
    more = {"outcome": "weak", "class_names": list("abc"), "input": [3, 32, 32], "poisoning_rate": 0.1}
    written(zoo / "one", more | {"recipe": {"augmentation": "crop"}})
    cells, after = measured(zoo, FREE)
    assert not cells
    assert after["truth"] == CARD | {
        "outcome": "weak", "recipe": "crop", "classes": 3, "input": [3, 32, 32], "poisoning_rate": 0.1,
    }  # fmt: skip
    (zoo / "one" / "spec.json").write_text(json.dumps({"recipe_name": "brief"}))
    assert known(zoo / "one").truth["recipe"] == "brief"


def test_another_model_of_the_same_name_is_noticed_though_nothing_is_left_to_measure(zoo: Path) -> None:
    measured(zoo, FREE)
    weights = zoo / "one" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(UsageError, match="has changed since"):
        measured(zoo, FREE)


def test_a_model_that_cannot_be_read_fails_in_every_cell_and_is_tried_again_when_asked(zoo: Path) -> None:
    weights = zoo / "one" / "weights.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:100])
    cells, result = measured(zoo, BOTH)
    assert set(result["status"].values()) == {"failed"}
    assert len(set(result["unmeasured"].values())) == 1
    assert len(cells) == 2
    assert not measured(zoo, BOTH)[0]
    assert len(measured(zoo, replace(BOTH, retry=True))[0]) == 2


def test_time_runs_out_for_one_cell_alone(zoo: Path) -> None:
    cells, result = measured(zoo, replace(BOTH, timeout=0.0))
    assert set(result["status"].values()) == {"failed"}
    assert all("time limit" in str(cell.reason) for cell in cells)


def test_a_worker_that_dies_fails_its_cell_and_the_rest_is_measured(zoo: Path) -> None:
    conditions = replace(FREE, detectors=("channel-lipschitz", "mm-bd", "noise-response"))
    with opened(zoo.parent / "results.sqlite") as store:
        jobs = plan(named(zoo), conditions, store)
        cells = []
        for cell in measure(jobs, store, Processes(workers=1)):
            cells.append(cell)
            if len(cells) == 1:
                (worker,) = multiprocessing.active_children()
                worker.kill()
    assert [cell.detector for cell in cells] == list(jobs[0].detectors)
    first, *others = (cell.status for cell in cells)
    assert (first, sorted(others)) == ("ok", ["failed", "ok"])
    assert ["ended with code -9" in str(cell.reason) for cell in cells] == [cell.status == "failed" for cell in cells]
