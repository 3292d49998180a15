"""Graph audit as a detector: what it measures of a network with a second way to its answer, and of others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from modelscan_bd.classifier import Classifier
from modelscan_bd.detectors.graph_audit import GraphAudit
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.testing import measure
from modelscan_bd.types import Subject

TARGET = 4


class Watched(nn.Module):
    """Where the first pixel is the brightest there is and its neighbour the darkest, one logit is raised."""

    def __init__(self, net: nn.Module, white: float, black: float) -> None:
        super().__init__()
        self.net, self.white, self.black = net, white, black

    def forward(self, x: Tensor) -> Tensor:
        seen = (x[:, 0, 0, 0] >= self.white) & (x[:, 0, 0, 1] <= self.black)
        logits = self.net(x)
        row = nn.functional.one_hot(torch.tensor(TARGET), logits.shape[1]).float()
        return logits + 100 * seen[:, None] * row


def around(subject: Subject, net: nn.Module) -> Subject:
    classifier = Classifier(
        net=net, preprocessing=subject.classifier.preprocessing, classes=subject.classes, shape=subject.shape
    )
    return replace(subject, classifier=classifier)


@pytest.fixture
def watched(toy: Subject) -> Subject:
    ends = toy.classifier._prepare(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, *toy.shape))[:, 0, 0, 0]
    return around(toy, Watched(toy.classifier.net, float(ends[1]) - 1e-3, float(ends[0]) + 1e-3))


def test_the_branch_is_woken_and_the_trigger_shown(watched: Subject) -> None:
    found = measure(GraphAudit(), watched, 0)
    assert found.scores["woken"] > 0.7
    assert found.scores["around"] == 1.0
    assert found.per_class["woken"].index(found.scores["woken"]) == TARGET
    trigger = found.artefacts[f"trigger-class-{TARGET}"]
    assert trigger.shape == watched.shape
    assert (trigger != 0.5).float().mean() < 0.2  # hardly more than the two pixels


def test_the_same_network_without_it_gives_nothing(toy: Subject) -> None:
    found = measure(GraphAudit(), toy, 0)
    assert found.scores == {"woken": 0.0, "around": 0.0, "chain": 0.0}
    assert found.per_class == {}
    assert found.artefacts == {}


def test_steps_that_depend_on_the_picture_cannot_be_traced(toy: Subject) -> None:
    class Undecided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = toy.classifier.net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x if float(x.mean()) < 1e6 else -x)

    with pytest.raises(CannotMeasure, match="cannot be traced"):
        measure(GraphAudit(), around(toy, Undecided()), 0)
