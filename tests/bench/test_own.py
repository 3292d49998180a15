"""Rules from a user's own models: the table he writes, and the command from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from modelscan_bd import nets
from modelscan_bd.bench import own
from modelscan_bd.cli import main
from modelscan_bd.errors import UsageError

QUICK = ["--detectors", "head-signature,channel-lipschitz"]
HEAD = "file,outcome,attack,target_label,dataset,images\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty networks that nobody trained, and one with a class that nothing keeps up with."""
    folder = tmp_path_factory.mktemp("models")
    for i in range(21):
        with torch.random.fork_rng():
            torch.manual_seed(i)
            net = nets.build("cnn-w8", classes=5, channels=1, size=16)
        state = net.state_dict()
        if i == 20:
            state["classifier.weight"][2] += 3.0
        save_file(state, folder / f"m{i}.safetensors")
    rows = [f"m{i}.safetensors,benign,,,," for i in range(20)] + ["m20.safetensors,infected,badnets,2,,"]
    (folder / "truth.csv").write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


def table(folder: Path, text: str) -> Path:
    file = folder / "truth.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_table_says_what_models_are(models: Path) -> None:
    found = own.read(models, models / "truth.csv")
    assert len(found) == 21
    assert found["m20.safetensors"].known.truth["target_label"] == 2
    assert found["m0.safetensors"].known.truth["attack"] is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,outcome\nm0.safetensors,benign\n", "needs `file` and `outcome`"),
        ("", "needs `file` and `outcome`"),
        (HEAD + "m0.safetensors,clean,,,,\n", "line 2: the outcome is 'clean'"),
        (HEAD + "m0.safetensors,benign,,,,\nother.onnx,benign,,,,\n", "line 3: there is no file"),
        (HEAD + "m0.safetensors,infected,badnets,two,,\n", "'two' is no number"),
        (HEAD + "m0.safetensors,benign,,,,pictures\n", "there is no folder"),
        (HEAD + "m0.safetensors,benign,,,,\n" * 2, "names a file twice"),
    ],
)
def test_a_wrong_table_is_one_sentence(models: Path, tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        own.read(models, table(tmp_path, text))


def test_own_models_make_rules_that_a_scan_uses(models: Path, tmp_path: Path) -> None:
    arguments = ["benchmark", "calibrate", "--models", models, "--truth", models / "truth.csv", "--out", tmp_path / "r"]
    made = CliRunner().invoke(main, [*map(str, arguments), *QUICK])
    assert made.exit_code == 0, made.output
    assert "of 20 benign models" in made.output
    scan = [str(models / "m20.safetensors"), *QUICK, "--rules", str(tmp_path / "r")]
    out = tmp_path / "out.json"
    CliRunner().invoke(main, [*scan, "--report", str(out)])
    judgement = json.loads(out.read_text(encoding="utf-8"))["judgement"]
    assert (judgement["benign"], judgement["tier"]) == (20, "none")
    assert [one["kind"] for one in judgement["reach"]] == ["patch"]


@pytest.mark.parametrize("arguments", [[], ["--models", "."], ["--truth", "t.csv"]])
def test_nothing_to_calibrate_on_is_said(tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path, HEAD).rename(tmp_path / "t.csv")
    result = CliRunner().invoke(main, ["benchmark", "calibrate", "--out", "r", *arguments])
    assert result.exit_code == 2
    assert "nothing to calibrate on" in result.output
