"""Reports as a reader meets them: whole files in `golden/`, and what must never reach one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelscan_bd.errors import UsageError
from modelscan_bd.report import FORMATS, artefacts, escape, format_of, render
from modelscan_bd.types import (
    Check,
    Confidence,
    Evidence,
    Failure,
    Finding,
    Judgement,
    ModelFacts,
    Preprocessing,
    Reach,
    Report,
    Severity,
    Skipped,
    Tier,
    Verdict,
)

HOSTILE = "a\x1b[31mred\u202egnp.exe`|<b>*x*</b>\r\n"
SCHEMA = json.loads(files("modelscan_bd.report").joinpath("schema.json").read_text(encoding="utf-8"))
PICTURES = {"neural-cleanse": ("out.artefacts/neural-cleanse.trigger.npy", "out.artefacts/neural-cleanse.trigger.png")}

REPORT = Report(
    tool="bdscan 0.1.0",
    model=ModelFacts(
        path="models/classifier.onnx",
        sha256="0" * 64,
        format="onnx",
        architecture="resnet8",
        num_classes=4,
        input=(3, 32, 32),
        family="convolutional",
        preprocessing=Preprocessing(
            mean=(0.5,), std=(0.25,), source="inferred", confidence=0.9, detail="by accuracy, [-1, 1] fits best"
        ),
        notes=("Two nodes were rewritten.",),
    ),
    verdict=Verdict.INFECTED,
    summary="Infected: none of 99 known benign models is like this. Such a scan finds 20 of 30 known infected models.",
    score=0.875,
    judgement=Judgement(
        tier=Tier.IMAGES,
        stratum="convolutional networks, at most 64 pixels",
        benign=99,
        p=0.01,
        tail=0.0004,
        scores=("neural-cleanse.anomaly", "mm-bd.anomaly"),
        reach=(Reach(kind="clean label", found=1, models=9), Reach(kind="patch", found=19, models=21)),
    ),
    target_labels=(2, 0),
    findings=(
        Finding(
            rule="BD201",
            severity=Severity.HIGH,
            confidence=Confidence.MEDIUM,
            value=6.25,
            threshold=4.0,
            target_label=2,
            message="A small patch turns every image into one class: anomaly is 6.25, and class 2 stands out.",
            remedy="Do not deploy.",
            detector="neural-cleanse",
        ),
    ),
    evidence=(
        Evidence(detector="mm-bd", scores={"anomaly": 1.5}, per_class={"anomaly": (0.5, 1.5, 1.0, 0.0)}, seconds=2.25),
        Evidence(
            detector="neural-cleanse",
            scores={"anomaly": 6.25},
            per_class={"anomaly": (0.5, 1.0, 6.25, 0.0)},
            details={"trigger_pixels": (40.0, 35.5, 8.25, 61.0), "trigger_success": (0.9, 0.95, 1.0, 0.85)},
            seconds=61.5,
        ),
        Skipped(detector="pixel", reason="it needs gradients, which this scan does not have"),
        Failure(detector="other", reason="RuntimeError: broke"),
    ),
    preflight=(
        Check(id="determinism", passed=True, fatal=False, message="The same images give the same logits."),
        Check(
            id="accuracy",
            passed=False,
            fatal=False,
            message="Accuracy on the images is 0.12.",
            remedy="Check --mean and --std.",
        ),
    ),
    incomplete=("other did not finish: RuntimeError: broke",),
    settings={"data": "images", "hints": {"mean": [0.5]}},
    seed=7,
    started="2026-01-02T03:04:05+00:00",
    seconds=64.0,
)


@pytest.mark.parametrize(("suffix", "format"), list(FORMATS.items()))
def test_the_whole_report(suffix: str, format: str, golden: Callable[[str, str], None]) -> None:
    golden(f"report{suffix}", render(REPORT, format, pictures=PICTURES))


def hostile() -> Report:
    """Everything that can come from the file is hostile."""
    return dataclasses.replace(
        REPORT,
        summary=HOSTILE,
        model=dataclasses.replace(REPORT.model, path=HOSTILE, architecture=HOSTILE, notes=(HOSTILE,)),
        findings=(dataclasses.replace(REPORT.findings[0], message=HOSTILE),),
        evidence=(Failure(detector="d", reason=HOSTILE),),
        preflight=(Check(id="c", passed=False, fatal=True, message=HOSTILE),),
        incomplete=(HOSTILE,),
    )


@pytest.mark.parametrize("format", FORMATS.values())
def test_nothing_from_the_file_is_obeyed(format: str) -> None:
    text = render(hostile(), format)
    assert not set("\x1b\r\u202e") & set(text)
    if format == "markdown":
        outside_code = [part for line in text.splitlines() for part in line.split("``")[::2]]
        assert not [part for part in outside_code if "<b>" in part.replace("\\<", "")]


@given(st.text())
def test_escaped_text_is_one_printable_line(text: str) -> None:
    for escaped in (escape.plain(text), escape.markdown(text), escape.code(text)):
        assert len(escaped.splitlines()) <= 1
        assert escaped.isprintable()
        escaped.encode("utf-8")


@given(st.text(alphabet="`|a ", min_size=1))
def test_a_code_span_cannot_be_left(text: str) -> None:
    span = escape.code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    assert fence not in span[len(fence) : -len(fence)].strip(" ") or "`" not in text


@pytest.mark.parametrize("report", [REPORT, hostile()], ids=["plain", "hostile"])
def test_json_keeps_its_schema(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(render(report, "json", pictures=PICTURES)), SCHEMA)


def test_the_schema_notices_a_field_too_many_and_one_too_few() -> None:
    document = json.loads(render(REPORT, "json"))
    for wrong in ({**document, "more": 1}, {key: value for key, value in document.items() if key != "score"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_json_never_holds_nan() -> None:
    nan = Evidence(detector="d", scores={"x": 1.0}, per_class={"x": (1.0, float("nan"), float("inf"))})
    text = render(dataclasses.replace(REPORT, evidence=(nan,)), "json")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["evidence"][0]["per_class"]["x"] == [1.0, None, None]
    jsonschema.validate(json.loads(text), SCHEMA)


def test_the_extension_names_the_format() -> None:
    assert format_of(Path("a/OUT.JSON")) == "json"
    with pytest.raises(UsageError, match=r"\.json, \.md, \.txt"):
        format_of(Path("out.sarif"))


def test_a_trigger_is_saved_to_compute_with_and_to_look_at(tmp_path: Path) -> None:
    mask = torch.zeros(1, 28, 28)
    mask[:, -3:, -3:] = 1.0
    evidence = Evidence(detector="d", scores={"x": 1.0}, artefacts={"class_2/mask": mask})
    saved = artefacts.save([evidence, Skipped(detector="e", reason="r")], tmp_path / "out.artefacts")
    png, npy = saved["d"]
    assert (png.name, png.parent) == ("d.class_2_mask.png", tmp_path / "out.artefacts")
    assert np.array_equal(np.load(npy), mask.numpy())
    pixels = np.asarray(Image.open(png))
    assert min(pixels.shape[:2]) >= 128
    assert pixels.shape[0] % 28 == 0
    assert pixels[-1, -1].tolist() == [255, 255, 255]
    assert pixels[0, 0].tolist() == [0, 0, 0]


def test_a_signed_trigger_is_shown_around_grey() -> None:
    signed = torch.zeros(3, 32, 32)
    signed[0, 0, 0], signed[0, 31, 31] = -0.5, 0.25
    pixels = artefacts.picture(signed)
    assert pixels[0, 0].tolist() == [0, 128, 128]
    assert pixels[-1, -1].tolist() == [191, 128, 128]


def test_no_artefacts_no_folder(tmp_path: Path) -> None:
    assert artefacts.save([Skipped(detector="e", reason="r")], tmp_path / "out.artefacts") == {}
    assert not (tmp_path / "out.artefacts").exists()
