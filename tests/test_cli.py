"""The product: argv in, exit code and files out, on real networks in real files.

Verdicts here come from known models that every score surpasses, or none: the gate is on trial, not the calibration.
What is measured is measured in this process, which saves the start of another: `test_supervise` has those.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from known_models import drawn
from safetensors.torch import load_file, save_file

from modelscan_bd import known, nets
from modelscan_bd.cli import main
from modelscan_bd.scan import here
from modelscan_bd.supervision.watchdog import Watchdog
from modelscan_bd.types import Tier

HEAD = ("head-signature.long_mean", "head-signature.trojan_signature")


@pytest.fixture(autouse=True)
def _measures_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watchdog, "__call__", lambda _, settings, watch: here(settings, watch))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of ten classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nets.build("cnn-w16", classes=10, channels=3)
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_file(net.state_dict(), file)
    return file


@pytest.fixture
def rules(tmp_path: Path) -> Callable[[float], str]:
    """A folder with forty benign models whose scores lie about `level`."""

    def folder(level: float) -> str:
        known_ones = [
            dataclasses.replace(one, tier=Tier.NONE, scores=dict.fromkeys(HEAD, level + i))
            for i, one in enumerate(drawn(40))
        ]
        (tmp_path / known.FILE).write_text(known.render(known_ones), encoding="utf-8")
        return str(tmp_path)

    return folder


def run(*arguments: object, **more: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **more)


def scan(model: Path, *arguments: object) -> Result:
    return run(model, "--detectors", "head-signature", *arguments)


def untimed(text: str) -> str:
    return re.sub(r'"(seconds|started)": [^,\n]+', r'"\1": 0', text)


# ---------------------------------------------------------------- the gate


def test_a_finding_fails_the_gate_and_is_written_down(
    model: Path, rules: Callable[[float], str], tmp_path: Path
) -> None:
    result = scan(model, "--rules", rules(-1e9), "--report", tmp_path / "out.json", "--report", tmp_path / "out.md")
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("INFECTED")
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (report["verdict"], report["findings"][0]["rule"]) == ("infected", "BD100")
    assert report["judgement"]["benign"] == 40
    assert report["summary"] in result.stdout.replace("\n", " ")
    assert (tmp_path / "out.md").read_text(encoding="utf-8").startswith("# bdscan: infected")


def test_no_finding_passes_the_gate(model: Path, rules: Callable[[float], str]) -> None:
    result = scan(model, "--rules", rules(1e9))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("BENIGN")


def test_what_could_not_be_examined_fails_the_gate_unless_allowed(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = scan(model, "--timeout", "1e-6", "--report", out)
    assert result.exit_code == 3, result.output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert (report["verdict"], report["evidence"][0]["status"]) == ("inconclusive", "failed")
    assert "time limit" in report["incomplete"][0]
    assert scan(model, "--timeout", "1e-6", "--allow-incomplete").exit_code == 0


def test_the_same_seed_gives_the_same_report_but_for_times(model: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.json"
        scan(model, "--seed", 3, "--report", out)
        texts.append(untimed(out.read_text(encoding="utf-8")))
    assert texts[0] == texts[1]
    assert '"seed": 3' in texts[0]


def test_quiet_prints_nothing(model: Path) -> None:
    result = scan(model, "--quiet", "--fail-on", "malicious")
    assert (result.exit_code, result.output) == (0, "")


def test_a_model_is_compared_with_its_parent(model: Path, tmp_path: Path) -> None:
    tensors = load_file(model)
    tensors["classifier.weight"][4] += 1
    edited, out = tmp_path / "edited.safetensors", tmp_path / "out.json"
    save_file(tensors, edited)
    arguments = ("--detectors", "reference-diff", "--allow-incomplete", "--report", out)
    assert run(edited, "--reference", model, *arguments).exit_code == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["evidence"][0]["scores"]["head_row"] == pytest.approx(1.0)
    assert report["settings"]["reference"] == str(model)
    assert any(str(model) in note for note in report["model"]["notes"])
    run(edited, *arguments)
    assert "a reference model" in json.loads(out.read_text(encoding="utf-8"))["evidence"][0]["reason"]


def test_a_parent_that_cannot_be_one_is_refused_with_a_sentence(model: Path, tmp_path: Path) -> None:
    other, broken = tmp_path / "other.safetensors", tmp_path / "broken.pt"
    save_file(nets.build("cnn-w16", classes=7, channels=3).state_dict(), other)
    broken.write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))
    for parent, complaint in ((other, "has 7 classes, the model 10"), (broken, "cannot be read")):
        result = scan(model, "--reference", parent)
        assert result.exit_code == 2, result.output
        assert complaint in result.stderr


# ---------------------------------------------------------------- files nobody should trust


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (eval, ("__import__('os').mkdir('was_run')",))


def test_a_file_that_asks_to_be_run_is_malicious_and_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.pt").write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))
    result = run("model.pt", "--report", "out.json")
    assert result.exit_code == 1, result.output
    assert not Path("was_run").exists()
    report = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert (report["verdict"], report["score"]) == ("malicious", 1.0)
    assert report["findings"][0]["rule"] == "BD901"
    assert report["model"]["sha256"]


def test_a_network_that_is_no_classifier_is_inconclusive(tmp_path: Path) -> None:
    out, file = tmp_path / "out.json", tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), file)
    result = run(file, "--report", out)
    assert result.exit_code == 3, result.output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["verdict"] == "inconclusive"
    assert report["incomplete"]


def test_a_broken_file_ends_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"\xff" * 64)
    result = run(file)
    assert result.exit_code == 2
    assert result.stderr.startswith("bdscan: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_broken_file_replaces_the_report_of_an_earlier_scan(tmp_path: Path) -> None:
    file, out = tmp_path / "model.safetensors", tmp_path / "out.json"
    file.write_bytes(b"\xff" * 64)
    out.write_text('{"verdict": "benign"}', encoding="utf-8")
    assert run(file, "--report", out).exit_code == 2
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["verdict"] == "inconclusive"
    assert report["incomplete"]


def test_what_a_file_is_called_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[2J\u202e.safetensors"
    file.write_bytes(b"\xff" * 64)
    result = run(file)
    assert result.exit_code == 2
    assert not set("\x1b\u202e") & set(result.output)


# ---------------------------------------------------------------- requests that make no sense


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such-file.onnx"], "no-such-file.onnx"),
        (["m.onnx", "--report", "out.sarif"], ".json, .md, .txt"),
        (["m.onnx", "--report", "no/such/folder/out.json"], "does not exist"),
        (["m.onnx", "--mean", "a,b"], "not a list of numbers"),
        (["m.onnx", "--input-size", "32x"], "not a size"),
        (["m.onnx", "--range", "-1,1", "--mean", "0.5"], "fixes mean and std"),
        (["m.onnx", "--detectors", "nope"], "no detector 'nope'"),
        (["m.onnx", "--detectors", "mm-bd,,pixel"], "between two commas"),
        (["m.onnx", "--data", "no-such-folder"], "does not exist"),
        (["m.onnx", "--nonsense"], "No such option"),
        (["m.onnx", "another.onnx"], "unexpected extra argument"),
        (["explain", "BD000"], "no rule 'BD000'"),
        (["--quiet"], "MODEL"),
    ],
)
def test_a_wrong_request_is_refused_with_a_sentence(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert complaint in result.stderr
    assert result.stdout == ""


def test_an_internal_error_is_a_sentence_and_a_trace_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelscan_bd.scan.scan", lambda *_, **__: 1 / 0)
    result = run("m.onnx")
    assert result.exit_code == 2
    assert result.stderr.startswith("bdscan: internal error: ZeroDivisionError")
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("m.onnx", "--debug").stderr


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelscan_bd.scan.scan", interrupted)
    result = run("m.onnx")
    assert (result.exit_code, result.stderr) == (130, "bdscan: interrupted\n")


# ---------------------------------------------------------------- what can be asked without a model


def test_help(golden: Callable[[str, str], None]) -> None:
    golden("help.txt", run("--help", prog_name="bdscan", terminal_width=100).stdout)


def test_commands_are_told_from_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--version").stdout.startswith("bdscan")
    assert "BD206" in run("rules").stdout
    monkeypatch.chdir(tmp_path)
    Path("rules").write_bytes(b"not a model")
    assert run("./rules").exit_code in {2, 3}


def test_lists_are_also_json() -> None:
    detectors, rules = json.loads(run("detectors", "--json").stdout), json.loads(run("rules", "--json").stdout)
    assert {rule["detector"] for rule in rules if "detector" in rule} <= {card["id"] for card in detectors}
    for card in detectors:
        assert card["id"] in run("detectors").stdout


@pytest.mark.parametrize("rule", ["BD100", "bd201", "BD901"])
def test_every_rule_explains_itself(rule: str) -> None:
    shown = run("explain", rule).stdout
    assert shown.startswith(rule.upper())
    assert "Why: " in shown
    assert "What to do: " in shown


def test_benchmark_is_a_group_of_its_own() -> None:
    shown = run("benchmark", "--help").stdout
    assert "measure" in shown
    assert "calibrate" in shown


def test_the_installed_script_runs() -> None:
    script = Path(sys.executable).with_name("bdscan")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("bdscan")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_reader_who_leaves_is_no_internal_error() -> None:
    """`bdscan detectors | head -1` once ended in "internal error: BrokenPipeError"."""
    with subprocess.Popen(
        [sys.executable, "-m", "modelscan_bd", "detectors"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
