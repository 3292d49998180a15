"""`bdscan audit`: what it says of files, its exit codes, and that it needs neither torch nor a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from audit import corpus, onnx_corpus
from audit.past_forms import seven_zip
from click.testing import CliRunner, Result

from modelscan_bd.audit import Remark
from modelscan_bd.cli import main
from modelscan_bd.cli.auditing import exit_code
from modelscan_bd.grades import Confidence, Severity

SHELL = corpus.stream(corpus.call("os.system", corpus.word("true")))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


@pytest.fixture
def attack(tmp_path: Path) -> Path:
    file = tmp_path / "attack.pt"
    file.write_bytes(corpus.torch_zip(SHELL))
    return file


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    file = tmp_path / "honest.npy"
    file.write_bytes(corpus.plain()["npy"])
    return file


def test_a_finding_is_named_with_its_place(attack: Path) -> None:
    result = run(attack)
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == f"{attack}: critical"
    assert "critical BD901  The pickle calls os.system('true')" in result.output
    assert "[archive/data.pkl, byte 2]" in result.output


def test_a_file_in_order(honest: Path) -> None:
    result = run(honest)
    assert (result.exit_code, result.output) == (0, f"{honest}: nothing found\n")


def test_one_bad_file_among_good_ones_decides(attack: Path, honest: Path) -> None:
    result = run(honest, attack)
    assert result.exit_code == 1
    assert "nothing found" in result.output


def test_what_is_not_read_is_no_pass(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF\x03" + bytes(100))
    assert run(file).exit_code == 3
    assert run(file, "--allow-incomplete").exit_code == 0


def test_what_is_packed_beyond_reading_is_no_pass(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(seven_zip(corpus.stream(b"}")))
    assert run(file).exit_code == 1
    assert run(file, "--fail-on", "high").exit_code == 3


def test_a_report_holds_what_is_printed(attack: Path, honest: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run(attack, honest, "--report", report, "--quiet").output == ""
    first, second = json.loads(report.read_text())["files"]
    assert (first["path"], second["findings"]) == (str(attack), [])
    (finding,) = first["findings"]
    assert (finding["rule"], finding["severity"], finding["place"]) == ("BD901", "critical", "archive/data.pkl, byte 2")


@pytest.mark.parametrize("wrong", ["report.txt", "absent/report.json"])
def test_a_report_that_cannot_be_written_is_one_sentence(honest: Path, tmp_path: Path, wrong: str) -> None:
    result = run(honest, "--report", tmp_path / wrong)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_nothing_to_read_is_one_sentence(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "absent"):
        result = run(wrong)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1


def test_names_and_contents_cannot_steer_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "\x1b[31m\u202ered.pkl"
    file.write_bytes(corpus.stream(corpus.call("os.system", corpus.word("\x1b[31m"))))
    assert all(line.isprintable() for line in run(file).output.splitlines())


@pytest.mark.parametrize(
    ("severity", "rule", "place", "expected"),
    [
        (Severity.MEDIUM, "BD910", "", 0),
        (Severity.HIGH, "BD901", "", 1),
        (Severity.MEDIUM, "BD903", "", 3),
        (Severity.INFO, "BD932", "", 3),
        (Severity.INFO, "BD932", "a/picture.png", 0),
        (Severity.LOW, "BD908", "", 0),
        (Severity.MEDIUM, "BD908", "", 3),
    ],
)
def test_exit_codes(severity: Severity, rule: str, place: str, expected: int) -> None:
    remark = Remark(rule=rule, severity=severity, confidence=Confidence.HIGH, message="It is.", place=place)
    assert exit_code([(remark,)], Severity.HIGH, allow_incomplete=False) == expected


def test_torch_is_not_imported(attack: Path, tmp_path: Path) -> None:
    model = onnx_corpus.BENIGN["plain"](tmp_path)
    code = "import sys; from modelscan_bd.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", str(attack), str(model)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "False"
