"""A trained network as files, each with the hints a scanner reads: architecture, input statistics, class names."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import nn

from modelscan_bd.bench.card import TrainedCard

OPSET = 17


def hints(card: TrainedCard) -> dict[str, str]:
    """The metadata of a weights file. Each value is JSON."""
    return {
        "bdscan.arch": json.dumps(card.arch),
        "bdscan.mean": json.dumps(card.mean),
        "bdscan.std": json.dumps(card.std),
        "bdscan.size": json.dumps(card.input[1:]),
        "bdscan.classes": json.dumps(card.class_names),
    }


def write_all(net: nn.Module, card: TrainedCard, out: Path, *, onnx: bool) -> None:
    """Weights, then ONNX, then the card: a folder with a card is complete."""
    write_safetensors(net, card, out / "weights.safetensors")
    if onnx:
        write_onnx(net, card, out / "model.onnx")
    card.write(out / "card.json")


def write_safetensors(net: nn.Module, card: TrainedCard, file: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(tensors, file, metadata=hints(card))


def write_onnx(net: nn.Module, card: TrainedCard, file: Path) -> None:
    """Any batch size; the input is called `input`, the logits `logits`."""
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the older exporter needs no further package
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, *card.input),),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}},
        )
    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, hints(card))
    onnx.save(model, str(file))


def read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    """The weights that `write_safetensors` wrote."""
    from safetensors.torch import load_file

    return load_file(file)
