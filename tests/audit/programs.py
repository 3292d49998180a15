"""TorchScript and torch.export archives as PyTorch itself writes them: in order, and reaching out of the network."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor, nn


class Writer(nn.Module):
    """Writes a file when it sees a bright picture."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.mean() > 0.9):
            torch.save(x, self.path)
        return x


class Reader(nn.Module):
    """Reads a file of the machine that it runs on."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file(self.path, False, 3)


def attacking(canary: Path) -> dict[str, bytes]:
    made = {"writes": Writer(str(canary)), "reads": Reader("/etc/hostname")}
    return {f"TorchScript by PyTorch that {what}": _scripted(net) for what, net in made.items()}


def honest() -> dict[str, bytes]:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    example = torch.zeros(1, 3, 8, 8)
    exported = io.BytesIO()
    torch.export.save(torch.export.export(net, (example,)), exported)
    traced = io.BytesIO()
    torch.jit.save(torch.jit.trace(net, example), traced)
    return {
        "TorchScript by PyTorch": _scripted(net),
        "TorchScript by PyTorch, traced": traced.getvalue(),
        "pt2 by PyTorch": exported.getvalue(),
    }


def _scripted(net: nn.Module) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(net), out)
    return out.getvalue()
