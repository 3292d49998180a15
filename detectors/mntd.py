"""MNTD: does one class answer a few learnt images as the target class of infected networks does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from modelscan_bd import litmus
from modelscan_bd.types import Card, Cost, Effort, Evidence, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class Mntd:
    """Learnt queries whose answers go to a small network, which is applied to each class by itself.

    The paper's network takes the answers of all classes at once, so it fits one set of classes. Its one-class training
    tunes the queries on benign models alone; here they stay noise, and the distance to benign answers is the score.
    """

    card: ClassVar[Card] = Card(
        id="mntd",
        title="One class answers a few learnt images as targets of infected models did in training",
        paper=(
            "Xu, Wang, Li, Borisov, Gunter, Li, Detecting AI Trojans Using Meta Neural Analysis, IEEE S&P 2021, "
            "https://arxiv.org/abs/1910.03137"
        ),
        cost=Cost.INSTANT,
        scores={
            "jumbo": "log-odds of being infected, by the class that looks most like a target",
            "one_class": "distance from the answers of benign models, in their standard deviations",
        },
        sees=(
            "models whose answers resemble those of the 26 infected ones (traffic signs and clothes, small networks, "
            "mostly stamped and blended triggers) among the 64 that the queries were learnt on, or are unlike those of "
            "the 38 benign ones; needs no images and no gradients"
        ),
        blind_to=(
            "most of what its training did not hold: on architectures and attacks held out of it, both scores were "
            "hardly better than chance (AUROC 0.63, 95 % intervals 0.41 to 0.84 and 0.38 to 0.82, 20 benign and 9 "
            "infected models). The class it names is a guess; jumbo, a maximum over classes, rises with their number, "
            "and one_class with whatever is unlike its training, benign or not. Whoever has the queries "
            "can train a model to pass"
        ),
        min_classes=2,
        effort=Effort.QUICK,
        published=(
            "97 % AUROC in its paper's abstract, with a classifier learnt for each task; 0.73 on TrojAI's object "
            "detectors in ODSCAN's comparison (Cheng et al., IEEE S&P 2024)."
        ),
        survey=60,
    )

    weights: str = "mntd"  # the file that ships, or the path of one that `train-meta` made

    def learnt_from(self) -> tuple[str, ...]:
        """The names of the models it was trained on, which tell nothing of how good it is."""
        return litmus.learnt_from(self.weights)

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where the answers are not finite or do not depend on the image."""
        jumbo = litmus.load(litmus.ClassTest, "jumbo", self.weights)
        usual = litmus.load(litmus.UsualTest, "one_class", self.weights)
        with torch.no_grad():
            readings = tuple(jumbo(subject.classifier).tolist())
            distance = float(usual(subject.classifier))
        scores = {"jumbo": max(readings), "one_class": distance}
        return Evidence(detector=self.card.id, scores=scores, per_class={"jumbo": readings})
