"""NeuralCleanse on the samples: the twins are told apart, and the trigger that is shown is one that works."""

from __future__ import annotations

import pytest
import torch

from modelscan_bd.detectors.neural_cleanse import NeuralCleanse
from modelscan_bd.testing import Twins, measure
from modelscan_bd.types import Evidence, Subject


@pytest.fixture(scope="module")
def infected(twins: Twins) -> Evidence:
    return measure(NeuralCleanse(), twins.infected, 0)


@pytest.fixture(scope="module")
def benign(twins: Twins) -> Evidence:
    return measure(NeuralCleanse(), twins.benign, 0)


@pytest.mark.parametrize("score", ["anomaly_index", "size_lead", "smallness"])
def test_the_infected_twin_scores_higher_and_the_target_is_named(
    score: str, infected: Evidence, benign: Evidence, twins: Twins
) -> None:
    assert infected.scores[score] > 1.2 * benign.scores[score]
    per_class = infected.per_class[score]
    assert per_class.index(max(per_class)) == twins.target


def test_the_trigger_in_the_evidence_turns_other_classes_into_the_target(infected: Evidence, twins: Twins) -> None:
    name = f"class-{twins.target}"
    assert {f"{name}-mask", f"{name}-pattern", f"{name}-trigger"} <= set(infected.artefacts)
    others = _not_yet(twins.infected, twins.target)
    stamped = others * (1 - infected.artefacts[f"{name}-mask"]) + infected.artefacts[f"{name}-trigger"]
    assert (twins.infected.classifier.classify(stamped).argmax(1) == twins.target).float().mean() > 0.7


def _not_yet(subject: Subject, target: int) -> torch.Tensor:
    images = subject.probes.images
    return images[subject.classifier.classify(images).argmax(1) != target]
