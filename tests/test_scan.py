"""The engine with detectors made for the occasion, on small real networks."""

# ruff: noqa: ARG002 - a detector that measures nothing still has the signature of one
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.inspection import generator, inspect_all
from modelscan_bd.types import (
    Card,
    Check,
    Cost,
    Detector,
    Evidence,
    Failure,
    Need,
    Preprocessing,
    Probes,
    ProbeSource,
    Silent,
    Skipped,
    Subject,
    Watch,
)
from modelscan_bd.watch import Deadline


def card(name: str, **more: Any) -> Card:
    return Card(id=name, title=name, paper="", cost=Cost.INSTANT, scores={"x": "a draw"}, sees="", blind_to="", **more)


class Draws:
    """Gives what its generator draws first."""

    card: ClassVar = card("draws")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        watch.tick(0.5, "drawing")
        return Evidence(detector=self.card.id, scores={"x": torch.rand(1, generator=rng).item()})


class DrawsToo(Draws):
    card: ClassVar = card("draws-too")


@dataclass
class Gives(Draws):
    """Gives this value under this name."""

    card: ClassVar = card("gives")
    value: float = 0.0
    name: str = "x"

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        return Evidence(detector=self.card.id, scores={self.name: self.value} if self.name else {})


@dataclass
class Raises(Draws):
    card: ClassVar = card("raises")
    error: BaseException | None = None

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        raise self.error or RuntimeError("mat1 and mat2\nsecond line")


class Endless(Draws):
    card: ClassVar = card("endless")

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        while True:
            watch.tick(0.25, "still going")


class NeedsAll(Draws):
    card: ClassVar = card("needs-all", needs=frozenset(Need))


class NeedsClasses(Draws):
    card: ClassVar = card("needs-classes", min_classes=5)


@pytest.fixture
def subject() -> Subject:
    """Three classes, no linear head, no gradients, invented images."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 4), nn.ReLU(), nn.Flatten())
    classifier = Classifier(
        net=net,
        preprocessing=Preprocessing(mean=(0.0,), std=(1.0,), source="flags"),
        classes=3,
        shape=(1, 4, 4),
        differentiable=False,
    )
    images = torch.rand(4, 1, 4, 4)
    return Subject(classifier=classifier, probes=Probes(images=images, labels=None, source=ProbeSource.PROCEDURAL))


def outcomes(subject: Subject, *detectors: Detector, seed: int = 0, watch: Watch | None = None) -> Any:
    return inspect_all(subject, detectors, [], seed=seed, watch=watch or Silent())


def test_order_and_company_do_not_change_a_result(subject: Subject) -> None:
    alone = outcomes(subject, Draws())[0].scores
    assert outcomes(subject, DrawsToo(), Raises(), Draws())[2].scores == alone
    assert outcomes(subject, DrawsToo())[0].scores != alone
    assert outcomes(subject, Draws(), seed=1)[0].scores != alone


def test_generators_differ_by_purpose_and_seed() -> None:
    drawn = {generator(s, p).initial_seed() for s in (0, 1) for p in ("a", "b")}
    assert len(drawn) == 4


def test_what_is_needed_and_absent_skips_with_a_reason(subject: Subject) -> None:
    needy, classes = outcomes(subject, NeedsAll(), NeedsClasses())
    assert isinstance(needy, Skipped)
    assert "gradients and clean images and features" in needy.reason
    assert classes == Skipped(detector="needs-classes", reason="it needs at least 5 classes; this model has 3")


def test_a_detector_that_cannot_measure_is_skipped_with_its_sentence(subject: Subject) -> None:
    assert outcomes(subject, Raises(error=CannotMeasure("All outputs are equal.")))[0] == Skipped(
        detector="raises", reason="All outputs are equal."
    )


def test_a_detector_that_breaks_is_a_failure_and_the_others_go_on(subject: Subject) -> None:
    broken, fine = outcomes(subject, Raises(), Draws())
    assert broken == Failure(detector="raises", reason="RuntimeError: mat1 and mat2")
    assert isinstance(fine, Evidence)
    assert fine.seconds > 0


@pytest.mark.parametrize(
    "gives", [Gives(value=float("nan")), Gives(value=float("inf")), Gives(name="unlisted"), Gives(name="")]
)
def test_a_score_that_cannot_be_judged_is_a_failure(subject: Subject, gives: Gives) -> None:
    assert isinstance(outcomes(subject, gives)[0], Failure)


def test_an_interrupt_is_not_swallowed(subject: Subject) -> None:
    with pytest.raises(KeyboardInterrupt):
        outcomes(subject, Raises(error=KeyboardInterrupt()))


def test_time_runs_out_for_the_slow_and_for_all_after_them(subject: Subject) -> None:
    times = iter(range(100))
    watch = Deadline(inner=Silent(), ends=6.0, clock=lambda: float(next(times)))
    first, slow, late = outcomes(subject, Draws(), Endless(), DrawsToo(), watch=watch)
    assert isinstance(first, Evidence)
    assert isinstance(slow, Failure)
    assert "time limit" in slow.reason
    assert "still going" in slow.reason
    assert isinstance(late, Failure)


def test_a_fatal_check_leaves_nothing_to_measure(subject: Subject) -> None:
    checks = [Check(id="constant", passed=False, fatal=True, message="The output is constant.")]
    (outcome,) = inspect_all(subject, [Draws()], checks, seed=0, watch=Silent())
    assert outcome == Skipped(detector="draws", reason="preflight: The output is constant.")


def test_the_watch_hears_a_share_of_the_whole(subject: Subject) -> None:
    heard: list[tuple[float, str]] = []

    class Listener:
        def tick(self, share: float, note: str) -> None:
            heard.append((share, note))

    outcomes(subject, Draws(), DrawsToo(), watch=Listener())
    assert heard == [
        (0.0, "draws"),
        (0.25, "draws: drawing"),
        (0.5, "draws-too"),
        (0.75, "draws-too: drawing"),
    ]
