"""TorchScript and torch.export archives are read as text: what reaches out is named, and nothing runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from audit import onnx_corpus as corpus
from audit.programs import Writer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from modelscan_bd.audit import Budget, Remark, audit, torchscript
from modelscan_bd.grades import Severity

ORDER = tuple(Severity)


def named(samples: dict[str, corpus.Sample]) -> list[str]:
    return [name for name in samples if name.startswith(("TorchScript", "pt2"))]


def worst(remarks: tuple[Remark, ...]) -> Severity:
    return max((remark.severity for remark in remarks), key=ORDER.index, default=Severity.INFO)


@pytest.mark.parametrize("name", named(corpus.MALICIOUS))
def test_attacks_are_found(tmp_path: Path, name: str) -> None:
    assert worst(audit(corpus.MALICIOUS[name](tmp_path))) in (Severity.HIGH, Severity.CRITICAL)


@pytest.mark.parametrize("name", named(corpus.BENIGN))
def test_programs_in_order_are_named_and_no_more(tmp_path: Path, name: str) -> None:
    remarks = audit(corpus.BENIGN[name](tmp_path))
    assert worst(remarks) is Severity.INFO, remarks
    assert [remark.rule for remark in remarks if remark.rule.startswith("BD93")] == ["BD935"]


def test_a_script_of_pytorch_that_writes(tmp_path: Path) -> None:
    torch.jit.script(Writer(str(tmp_path / "canary"))).save(tmp_path / "model.pt")
    found = [remark for remark in audit(tmp_path / "model.pt") if remark.rule == "BD936"]
    assert [remark.severity for remark in found] == [Severity.HIGH]
    assert "torch.save" in found[0].message
    assert "code/__torch__" in found[0].place
    assert ", line " in found[0].place
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("traced", [True, False])
def test_scripts_of_pytorch(tmp_path: Path, traced: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made = torch.jit.trace(net.eval(), torch.ones(1, 3, 8, 8)) if traced else torch.jit.script(net)
    torch.jit.save(made, tmp_path / "model.pt", _extra_files={"labels.txt": "cat dog"})
    assert worst(audit(tmp_path / "model.pt")) in (Severity.INFO, Severity.LOW)


def test_an_exported_program_of_pytorch(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),)), buffer)
    (tmp_path / "model.pt2").write_bytes(buffer.getvalue())
    assert worst(audit(tmp_path / "model.pt2")) in (Severity.INFO, Severity.LOW)


@pytest.mark.parametrize(
    "source",
    [
        "torch.save(x)",
        "torch . save (x)",
        "torch.\\\n  save(x)",
        "ops.aten.save(x)",
        "(x).save(y)",
        "'''a'b''' ; torch.save(x) #'",
        '"a\\"" ; torch.save(x)',
        "'unfinished\ntorch.save(x)",
        "^Call()(x)",
        "import os",
        "__import__('os')",
        "torch.ops.load_library(x)",
        "ops.mine.run(x)",
        "__torch__.torch.classes.mine.Thing()",
    ],
)
def test_ways_to_write_it(source: str) -> None:
    assert list(torchscript.source_remarks(source.encode(), "code"))


@pytest.mark.parametrize(
    "source",
    [
        "torch.relu(x)",
        "# torch.save(x)",
        "a = 'torch.save(x)'",
        'a = """\ntorch.save(x)\n"""',
        "import __torch__.net",
        "self.save = 3",
        "(self).evaluate(x)",
        "ops.prim.NumToTensor(x)",
        "loaded(x)",
    ],
)
def test_ways_that_are_none(source: str) -> None:
    assert not list(torchscript.source_remarks(source.encode(), "code"))


def test_a_source_is_told_of_once_per_name() -> None:
    assert len(list(torchscript.source_remarks(b"torch.save(x)\n" * 500, "code"))) == 1
    assert len(list(torchscript.source_remarks(b"".join(b"ops.a%d.b(x)\n" % i for i in range(500)), "code"))) == 50


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    made = corpus.archive(archive_format="pt2", models__modelDOTjson="[" * 10**6)
    assert worst(audit(made(tmp_path))) is Severity.MEDIUM


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="\"'#\\\n ()^.abtorchsve", max_size=60))
def test_any_text_is_read_to_its_end(source: str) -> None:
    for remark in torchscript.source_remarks(source.encode(), "code"):
        assert remark.message.isprintable()


TABLES = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(TABLES)
def test_any_table_is_read(table: object) -> None:
    members = {"net/archive_format": b"pt2", "net/models/model.json": json.dumps(table).encode()}
    assert list(torchscript.remarks(members, "", Budget()) or ())
