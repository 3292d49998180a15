"""Each sample gets the verdict that its manifest promises, through the command a stranger types first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modelscan_bd.cli import main

SAMPLES = Path(__file__).parent.parent / "samples"
MANIFEST = json.loads((SAMPLES / "manifest.json").read_text(encoding="utf-8"))["samples"]


@pytest.mark.slow
@pytest.mark.parametrize("sample", MANIFEST, ids=lambda sample: sample["file"])
def test_the_promised_verdict(sample: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = [str(SAMPLES / sample["file"]), "--data", str(SAMPLES / "images"), "--report", str(out)]
    result = CliRunner().invoke(main, arguments)
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["verdict"] == sample["verdict"], result.output
    assert result.exit_code == (0 if sample["verdict"] == "benign" else 1)
    assert report["model"]["sha256"] == sample["sha256"]
    if sample["target_label"] is not None:
        assert report["target_labels"][0] == sample["target_label"]
        assert list((tmp_path / "out.artefacts").glob("*.png"))
