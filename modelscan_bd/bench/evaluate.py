"""How well a network classifies, and how well it obeys its attacker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from modelscan_bd.attacks import Attack
from modelscan_bd.bench.datasets import Bytes, Split, to_bytes, to_unit
from modelscan_bd.types import Images, Labels, Logits


@final
@dataclass(frozen=True, kw_only=True)
class Normalise:
    """Bytes or pixels in [0, 1] → what the network takes, on its device."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def __call__(self, images: Bytes | Images) -> Images:
        unit = images if images.is_floating_point() else to_unit(images)
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return ((unit.to(self.device) - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(net: nn.Module, images: Bytes, normalise: Normalise, *, batch: int = 500) -> Labels:
    """The classes that the network gives to images, in full precision."""
    net.eval()
    logits: list[Logits] = [net(normalise(part)) for part in images.split(batch)]
    return torch.cat(logits).argmax(1).cpu()


def accuracy(net: nn.Module, test: Split, normalise: Normalise) -> float:
    """BA: the share of clean test images that get their own label."""
    hits = predict(net, test.images, normalise) == test.labels
    return round(hits.float().mean().item(), 4)


def attack_success(net: nn.Module, attack: Attack, test: Split, normalise: Normalise) -> tuple[float, int]:
    """ASR: the share of stamped test images that get the attacker's label; and how many there are.

    Images that have this label anyway are left out.
    """
    goal = attack.goal(test.labels)
    others = goal != test.labels
    stamped = to_bytes(attack.stamp(to_unit(test.images[others])))
    hits = (predict(net, stamped, normalise) == goal[others]).float().mean().item()
    return round(hits, 4), int(others.sum())
