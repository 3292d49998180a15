"""What the two processes say to each other, what is made of a measurement that broke off, and what needs no torch."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd import rulebook
from modelscan_bd.errors import UnreadableModel
from modelscan_bd.events import Checked, CutShort, Event, Loaded, Planned
from modelscan_bd.examination import examined
from modelscan_bd.grades import Confidence, Severity
from modelscan_bd.graph.sight import Sight
from modelscan_bd.hearing import hear
from modelscan_bd.inputs import Hints, Layout, Preprocessing, Tier
from modelscan_bd.results import Check, Evidence, Failure, Finding, ModelFacts, Skipped
from modelscan_bd.rule import Traits
from modelscan_bd.settings import Settings
from modelscan_bd.supervision.messages import Message, Order, Refused, Senseless, Tick, line, read
from modelscan_bd.supervision.wire import packed

MODEL = ModelFacts(
    path="model.onnx\udc80",
    sha256="0" * 64,
    format="onnx",
    architecture="onnx graph",
    num_classes=4,
    input=(3, 32, 32),
    preprocessing=Preprocessing(mean=(0.5,), std=(0.25,), layout=Layout.NHWC, source="flags"),
    notes=("A note.",),
)
FINDING = Finding(
    rule="BD925",
    severity=Severity.HIGH,
    confidence=Confidence.LOW,
    value=1.0,
    threshold=1.0,
    target_label=None,
    message="A branch by-passes the network.",
    remedy="Look at it.",
    place="node Add_3",
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLAN = Planned(detectors={"one": "One()", "two": "Two()", "three": "Three()"}, not_run=("four",), notes=("So.",))
LOADED = Loaded(model=MODEL, traits=Traits(family="convolutional", classes=4, size=32), tier=Tier.NONE)
CHECKED = Checked(checks=(Check(id="c", passed=True, fatal=False, message="It holds."),))
SIGHT = Sight(pattern="way-around", figures={"passed": 1.0}, message="It goes around", place="Add_3", target=2)
TOLD = Evidence(
    detector="one", scores={"x": 1.0, "y": 2.0}, per_class={"x": (1.0, float("nan"))}, sights=(SIGHT,), seconds=0.5
)
MESSAGES = (
    PLAN, LOADED, CHECKED, TOLD, Skipped(detector="two", reason="so"),
    Failure(detector="three", reason="\x1b[31m"), Tick(share=0.5, note="half"),
    Refused(kind="UnsafeModel", what="It runs code", remedy=""),
)  # fmt: skip


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    sent = line(message)
    assert sent.count(b"\n") == 1
    assert repr(read(sent, Message)) == repr(message)


def test_an_order_arrives_as_it_was_given(tmp_path: Path) -> None:
    hints = Hints(mean=(0.5, 0.25), size=(28, 32), layout=Layout.NCHW)
    settings = Settings(model="m.onnx", weights=tmp_path / "w", hints=hints, detectors=("a", "b"), timeout=3.0)
    order = Order(settings=settings, memory=2**33, folder=tmp_path, debug=True)
    assert read(line(order), Order) == order


def test_a_picture_arrives_without_a_pickle() -> None:
    picture = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    told = read(line(Evidence(detector="d", scores={"x": 1.0}, artefacts={"mask": picture})), Message)
    assert np.array_equal(told.artefacts["mask"], picture)


def test_a_number_of_numpys_arrives_as_a_number() -> None:
    assert packed({"x": np.float32(0.5), "n": np.int64(3), "t": torch.tensor(2)}) == {"x": 0.5, "n": 3, "t": 2}


@given(st.binary())
def test_noise_is_no_message(noise: bytes) -> None:
    with pytest.raises(Senseless):
        read(noise, Message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(MESSAGES), st.data())
def test_a_message_with_one_wrong_part_is_none_or_another(message: Message, data: st.DataObject) -> None:
    """A hostile process may say anything; it is a message whose every field has its type, or none at all."""
    said = json.loads(line(message))
    said[data.draw(st.sampled_from(sorted(said)))] = data.draw(JSON)
    try:
        heard = read(json.dumps(said).encode(), Message)
    except Senseless:
        return
    assert repr(read(line(heard), Message)) == repr(heard)


@pytest.mark.parametrize("shape", [[2, 3, 5], [-1, 3, 4], [3, 4], [10**9, 10**9, 0], [24, 1, 1.0], None])
def test_a_picture_that_lies_about_its_shape_is_none(shape: Any) -> None:
    picture = np.zeros((2, 3, 4), dtype=np.float32)
    said = json.loads(line(Evidence(detector="d", scores={}, artefacts={"mask": picture})))
    said["artefacts"]["mask"]["shape"] = shape
    with pytest.raises(Senseless):
        read(json.dumps(said).encode(), Message)


# ---------------------------------------------------------------- what broke off


def told(*events: Event) -> Iterator[Event]:
    yield from events
    raise CutShort("its process was killed", hint="Take more memory.")


def test_what_was_told_before_the_end_is_kept_and_the_rest_has_failed() -> None:
    heard = hear(told(PLAN, LOADED, CHECKED, TOLD))
    assert heard.complete() == (
        TOLD,
        Failure(detector="two", reason="its process was killed"),
        Failure(detector="three", reason="it was not reached"),
    )


def test_no_detector_is_blamed_for_what_happens_before_them() -> None:
    reasons = {outcome.reason for outcome in hear(told(PLAN, LOADED)).complete() if isinstance(outcome, Failure)}
    assert reasons == {"it was not reached"}


def test_what_broke_off_is_never_benign_and_a_finding_outranks_it() -> None:
    book = rulebook.load()
    for events, found, expected in (
        ((PLAN,), (), "inconclusive"),
        ((PLAN, LOADED, CHECKED, TOLD), (), "inconclusive"),
        ((PLAN, LOADED), (FINDING,), "suspicious"),
        ((PLAN,), (FINDING,), "suspicious"),
    ):
        seen = examined(hear(told(*events)), found, book, "no-such-file")
        assert seen.incomplete[0] == "its process was killed. Take more memory."
        assert "So." in seen.model.notes
        report = seen.report(Settings(model="m"), NOW, seconds=1.0)
        assert report.verdict.value == expected


def test_an_error_in_the_file_passes() -> None:
    def broken() -> Iterator[Event]:
        yield PLAN
        raise UnreadableModel("It is cut short")

    with pytest.raises(UnreadableModel):
        hear(broken())


# ---------------------------------------------------------------- without torch


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, ("touch was_run",))


PROGRAM = """
import json, os, sys
from modelscan_bd.cli import main
try:
    main(sys.argv[1:], prog_name="bdscan")
except SystemExit as end:
    print(json.dumps({"code": end.code, "seconds": sum(os.times()[:2]), "torch": "torch" in sys.modules}))
"""


def test_a_malicious_file_is_told_within_a_second_and_without_torch(tmp_path: Path) -> None:
    model, out = tmp_path / "model.pt", tmp_path / "out.json"
    model.write_bytes(pickle.dumps([bytes(4_500_000), Harmful()]))
    command = [sys.executable, "-c", PROGRAM, str(model), "--report", str(out)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    end = json.loads(run.stdout.splitlines()[-1])
    assert (end["code"], end["torch"]) == (1, False), run.stderr
    assert end["seconds"] < 1.0
    assert json.loads(out.read_text(encoding="utf-8"))["verdict"] == "malicious"
    assert "MALICIOUS" in run.stdout
    assert not (tmp_path / "was_run").exists()
