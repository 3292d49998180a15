"""ULP: do a few learnt images bring out the answers that infected networks give, and benign ones do not?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from modelscan_bd import litmus
from modelscan_bd.types import Card, Cost, Effort, Evidence, Subject, Watch


@final
@dataclass(frozen=True, kw_only=True)
class Ulp:
    """Ten images and a linear reader of the answers, learnt together on networks whose truth is known.

    The paper's reader takes the logits themselves, so it fits one set of classes. This one takes how the answers fall
    off from the first class to the next ones, which exists for any classes; the images are resized to the network.
    """

    card: ClassVar[Card] = Card(
        id="ulp",
        title="A few learnt images bring out answers that infected models gave in training",
        paper="Kolouri, Saha, Pirsiavash, Hoffmann, Universal Litmus Patterns, CVPR 2020, https://arxiv.org/abs/1906.10842",
        cost=Cost.INSTANT,
        scores={
            "litmus": "log-odds of being infected, as a linear reader of the answers to ten learnt images gives them"
        },
        sees=(
            "models whose answers resemble those of the 26 infected ones (traffic signs and clothes, small networks, "
            "mostly stamped and blended triggers) among the 64 that the images and the reader were learnt on; needs "
            "no images and no gradients"
        ),
        blind_to=(
            "most of what its training did not hold: on architectures and attacks held out of it, it was hardly better "
            "than chance (AUROC 0.62, 95 % interval 0.41 to 0.85, 20 benign and 9 infected models). Its "
            "training models have one or two targets per data set, so a class can be mistaken for the backdoor. "
            "Whoever has the images can train a model to pass"
        ),
        min_classes=2,
        effort=Effort.QUICK,
        published=(
            "Hu et al. (arXiv:2110.08335) measured AUROCs of 0.59 on MNIST and 0.55 on CIFAR-10 for square patches, "
            "and of 0.48 to 0.55 on four TrojAI rounds; the abstract of ULP gives none."
        ),
        survey=61,
    )

    weights: str = "ulp"  # the file that ships, or the path of one that `train-meta` made

    def learnt_from(self) -> tuple[str, ...]:
        """The names of the models it was trained on, which tell nothing of how good it is."""
        return litmus.learnt_from(self.weights)

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:  # noqa: ARG002
        """Raises CannotMeasure where the answers are not finite or do not depend on the image."""
        test = litmus.load(litmus.SpectrumTest, "litmus", self.weights)
        with torch.no_grad():
            score = float(test(subject.classifier))
        return Evidence(detector=self.card.id, scores={"litmus": score})
