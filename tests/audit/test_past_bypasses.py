"""What once got past a scanner is found, each by name; and the payloads among it are no duds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from audit import past_forms
from audit.bypass import Bypass
from audit.corpus import call, word
from audit.past_bypasses import past
from audit.past_claims import elsewhere

from modelscan_bd.audit import audit
from modelscan_bd.grades import Severity

ORDER = tuple(Severity)


def all_of(canary: Path) -> dict[str, Bypass]:
    return past(canary) | elsewhere()


NAMES = tuple(all_of(Path("canary")))


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "touched"


@pytest.fixture(scope="module")
def bypasses(canary: Path) -> dict[str, Bypass]:
    return all_of(canary)


@pytest.mark.parametrize("name", NAMES)
def test_it_no_longer_gets_past(bypasses: dict[str, Bypass], canary: Path, tmp_path: Path, name: str) -> None:
    bypass = bypasses[name]
    remarks = audit(bypass.sample(tmp_path))
    told = [ORDER.index(remark.severity) for remark in remarks if remark.rule == bypass.rule]
    assert max(told, default=-1) >= ORDER.index(bypass.severity), remarks
    assert not canary.exists()


def test_python_runs_the_payloads(tmp_path: Path) -> None:
    """Each form, and the file that is safetensors and a pickle at once; one process each, for some replace modules."""
    duds = [name for name in _live(tmp_path) if not _runs(name, tmp_path)]
    assert duds == []


def _live(canary: Path) -> dict[str, bytes]:
    both = past_forms.polyglot(call("os.system", word(f"touch {canary}")))
    return past_forms.forms(canary) | {"safetensors and pickle": both}


def _runs(name: str, folder: Path) -> bool:
    canary, file = folder / "touched", folder / "model.pkl"
    canary.unlink(missing_ok=True)
    file.write_bytes(_live(canary)[name])
    code = f"import pickle; pickle.load(open({str(file)!r}, 'rb'))"
    subprocess.run([sys.executable, "-I", "-c", code], check=False, capture_output=True, timeout=60)
    return canary.exists()


def test_the_polyglot_is_good_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    (tmp_path / "model.safetensors").write_bytes(past_forms.polyglot(b"N"))
    assert list(load_file(tmp_path / "model.safetensors")) == ["w"]
