"""What is installed is what is on disk, and the layers point one way."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENGINE = ROOT / "modelscan_bd"
MAPPED = {"modelscan_bd.detectors": ROOT / "detectors", "modelscan_bd.rules": ROOT / "rules"}


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its absolute name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def packages_on_disk() -> set[str]:
    inside = {".".join(init.parent.relative_to(ROOT).parts) for init in ENGINE.rglob("__init__.py")}
    return inside | set(MAPPED)


def test_every_package_on_disk_is_listed_and_the_other_way_round() -> None:
    """A sub-package that is not listed is dropped from the wheel without a word."""
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_folders_that_map_into_the_package_are_flat_and_never_shadowed() -> None:
    for name, folder in MAPPED.items():
        twin = ENGINE / name.rpartition(".")[2]
        assert not twin.exists()
        assert not twin.with_suffix(".py").exists()
        assert not [sub for sub in folder.iterdir() if sub.is_dir() and sub.name != "__pycache__"]


@pytest.mark.parametrize("kind", ["detectors", "attacks"])
def test_every_entry_point_is_installed(kind: str) -> None:
    declared = PROJECT["project"]["entry-points"][f"modelscan_bd.{kind}"]
    found = {p.name: p.value for p in entry_points(group=f"modelscan_bd.{kind}")}
    assert declared.items() <= found.items(), "entry points are copied when installing: run pip install -e . again"


def test_every_detector_file_is_an_entry_point() -> None:
    declared = PROJECT["project"]["entry-points"]["modelscan_bd.detectors"].values()
    files = {f"modelscan_bd.detectors.{file.stem}" for file in (ROOT / "detectors").glob("[!_]*.py")}
    assert {value.partition(":")[0] for value in declared} == files


def test_test_files_have_unique_names() -> None:
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_the_engine_knows_no_detector() -> None:
    guilty = [
        (file.name, name)
        for file in modules(ENGINE)
        if "bench" not in file.relative_to(ENGINE).parts
        for name in imports(file)
        if name.startswith(("modelscan_bd.detectors", "modelscan_bd.bench", "detectors"))
        and file != ENGINE / "cli" / "__init__.py"
    ]
    assert guilty == []


def test_detectors_know_neither_each_other_nor_attacks_nor_judgement() -> None:
    allowed = {f"modelscan_bd.detectors.{file.stem}" for file in (ROOT / "detectors").glob("_*.py")}
    forbidden = ("attacks", "bench", "rules", "report", "detectors", "rulebook", "judge", "scan", "cli", "loading")
    guilty = [
        (file.name, name)
        for file in modules(ROOT / "detectors")
        for name in imports(file)
        if name.startswith((".", *(f"modelscan_bd.{part}" for part in forbidden)))
        and name.rpartition(".")[0] not in allowed
    ]
    assert guilty == []


def test_attacks_know_no_detector() -> None:
    guilty = [name for file in modules(ENGINE / "attacks") for name in imports(file) if "detectors" in name]
    assert guilty == []


def test_only_the_command_line_prints_or_exits() -> None:
    """Files that are programs of their own (a child process, a maker of data) excepted."""
    spoken = re.compile(r"^\s*(print\(|click\.echo|sys\.exit\()", re.MULTILINE)
    texts = {
        str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
        for folder in (ENGINE, ROOT / "detectors")
        for file in modules(folder)
        if not {"cli", "bench"} & set(file.relative_to(ROOT).parts)
    }
    assert [name for name, text in texts.items() if spoken.search(text) and "__main__" not in text] == []


def test_no_file_is_longer_than_350_lines() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for folder in (ENGINE, ROOT / "detectors")
        for file in modules(folder)
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert long == {}


def test_help_starts_without_torch() -> None:
    code = "import sys, modelscan_bd.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_continuous_integration_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert len(commands) == 2, "two commands do all the set-up"
    assert "samples/infected.onnx" in commands[0]
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_wheel_holds_every_module_rule_and_template(tmp_path: Path) -> None:
    """Builds through the source archive, as a release does; needs the network for the build's own requirements."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(file.relative_to(ROOT)) for file in (*modules(ENGINE), *ENGINE.rglob("*.j2"), *ENGINE.rglob("*.json"))
    }
    for name, folder in MAPPED.items():
        wanted |= {
            f"{name.replace('.', '/')}/{file.name}" for file in folder.iterdir() if file.suffix in {".py", ".toml"}
        }
    assert wanted <= held
    assert {name.split("/")[0] for name in held} == {"modelscan_bd", wheel.name.partition("-py3")[0] + ".dist-info"}
