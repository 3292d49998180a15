"""Graph audit: ways around the network, choices by the picture, channels of their own; those that sleep are woken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from modelscan_bd.errors import CannotMeasure
from modelscan_bd.graph import chains, ways
from modelscan_bd.graph.examine import Seen, examine
from modelscan_bd.types import Card, Cost, Effort, Evidence, Need, Subject, Watch

_ALIKE = 1e-6  # logits that differ by less are the same


@final
@dataclass(frozen=True, kw_only=True)
class GraphAudit:
    """Looks at the structure and drives what is odd in it: a branch that sleeps on ordinary images and, once a picture
    wakes it, turns any image to one class. That the branch alone does it is shown by holding it at rest.
    """

    card: ClassVar[Card] = Card(
        id="graph-audit",
        title="The network's graph has a branch that does not belong to it",
        paper=(
            "Bober-Irizar et al., Architectural Backdoors in Neural Networks, CVPR 2023, "
            "https://arxiv.org/abs/2206.07840; Wickens et al., ShadowLogic, 2024, "
            "https://hiddenlayer.com/innovation-hub/shadowlogic; Qi et al., Subnet Replacement, CVPR 2022, "
            "https://arxiv.org/abs/2111.12965"
        ),
        cost=Cost.SECONDS,
        scores={
            "woken": "share of the images that a found picture turns by waking a sleeping branch, less those that turn "
            "while the branch is held at rest, 0 to 1",
            "around": "largest share of all layers that a way from the image to a join goes around, 0 to 1",
            "chain": "length, in layers of the longest way, of the longest chain of channels of their own, 0 to 1",
        },
        sees=(
            "triggers that a part of the graph looks for beside the trained layers: conditions, checksums, pooled "
            "patterns, small networks in parallel or inside the layers"
        ),
        blind_to=(
            "backdoors in the trained weights, which change no structure; branches that take part in ordinary answers; "
            "subnets of more than two channels a layer"
        ),
        needs=frozenset({Need.GRADIENTS}),
        min_classes=2,
        effort=Effort.QUICK,
    )

    def inspect(self, subject: Subject, *, rng: torch.Generator, watch: Watch) -> Evidence:
        """Raises CannotMeasure where the network cannot be traced, or gives the same answer to all images."""
        logits = subject.classifier.classify(subject.probes.images)
        if not torch.isfinite(logits).all() or float((logits - logits[:1]).abs().max()) < _ALIKE:
            raise CannotMeasure("the network gives the same answer, or none, to all images")
        seen = examine(subject.classifier, subject.probes.images, rng, watch)
        scores = {
            "around": _most(seen, ways.PATTERN, "passed", "raw"),
            "chain": _most(seen, chains.PATTERN, "length", "alone"),
        }
        waking = seen.waking
        if waking is None:
            return Evidence(detector=self.card.id, scores={"woken": 0.0, **scores}, sights=seen.sights)
        turned = tuple(waking.shown if label == waking.target else 0.0 for label in range(subject.classes))
        return Evidence(
            detector=self.card.id,
            scores={"woken": waking.shown, **scores},
            per_class={"woken": turned},
            artefacts={f"trigger-class-{waking.target}": waking.trigger},
            sights=seen.sights,
        )


def _most(seen: Seen, pattern: str, figure: str, weight: str) -> float:
    found = [sight.figures[figure] * sight.figures[weight] for sight in seen.sights if sight.pattern == pattern]
    return max(found, default=0.0)
