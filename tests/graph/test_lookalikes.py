"""The look-alikes are honest: they run, exports of them give the same answers, and nothing in them knows a target."""

from __future__ import annotations

import onnx
import pytest
import torch
from graph.export import answers, to_onnx
from graph.lookalike_heads import EarlyExit
from graph.lookalikes import DOUBTFUL, LOOKALIKES, REWRITTEN, Lookalike, images
from torch import Tensor

ALL = LOOKALIKES | DOUBTFUL
MARKS = {
    "quantised statically": "QuantizeLinear", "quantised dynamically": "DynamicQuantizeLinear",
    "resized in a branch": "If", "activations as functions": "Activation",
}  # fmt: skip


def first(answer: Tensor | tuple[Tensor, ...]) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


@pytest.mark.parametrize("name", ALL)
def test_they_tell_images_apart(name: str) -> None:
    answer = first(ALL[name].build()(ALL[name].example(16)))
    assert len(answer) == 16
    assert answer.float().isfinite().all()
    assert len(answer.unique(dim=0)) > 3


@pytest.mark.parametrize("name", list(ALL)[::9])
def test_exports_answer_the_same(name: str) -> None:
    _check(ALL[name], dynamo=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_all_exports_answer_the_same(name: str) -> None:
    _check(ALL[name], dynamo=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_exports_of_the_newer_exporter_answer_the_same(name: str) -> None:
    _check(ALL[name], dynamo=True)


def _check(lookalike: Lookalike, *, dynamo: bool) -> None:
    net, x = lookalike.build(), lookalike.example(4)
    model = to_onnx(net, x, dynamo=dynamo)
    onnx.checker.check_model(model)
    for part in (x, x[:1]):
        assert torch.allclose(answers(model, part).float(), first(net(part)).float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", REWRITTEN)
def test_rewritten_ones_answer_much_the_same(name: str) -> None:
    model, x = REWRITTEN[name](), images(32)
    onnx.checker.check_model(model, full_check=True)
    here = answers(model, x).argmax(1)
    there = ALL[name.rpartition(", ")[0]].build()(x).argmax(1)
    assert (here == there).float().mean() > (0.7 if "quantised" in name else 0.99)


def test_rewriting_leaves_its_marks() -> None:
    kinds = {how: {node.op_type for node in REWRITTEN[f"softmax, {how}"]().graph.node} for how in MARKS}
    assert all(mark in kinds[how] for how, mark in MARKS.items())


def test_images_take_different_ways() -> None:
    """Exits, experts and refusals are used by some images, and not by others."""
    x = images(64)
    unsure = first(LOOKALIKES["unknown where unsure"].build()(x)).argmax(1) == 10
    assert 0 < unsure.sum() < 64
    early = LOOKALIKES["early exit"].build()
    assert isinstance(early, EarlyExit)
    at_once, _, _ = (answer.softmax(1).amax(1) > 0.95 for answer in early.answers(x))
    assert 0 < at_once.sum() < 64


def test_the_same_each_time() -> None:
    one, other = (LOOKALIKES["early exit"].build() for _ in range(2))
    assert torch.equal(one(images(4)), other(images(4)))
