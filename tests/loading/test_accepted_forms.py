"""Every form in which a classifier may come: it loads, and computes the same logits as before it was saved."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modelscan_bd import nets
from modelscan_bd.errors import UnsupportedModel, UsageError
from modelscan_bd.loading import Limits, load, torch_file
from modelscan_bd.loading.architectures import fit
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.module_tree import check_tree
from modelscan_bd.loading.sniff import Kind
from modelscan_bd.torchvision_shim import prepare
from modelscan_bd.types import FileFormat

prepare()
import timm  # noqa: E402
import torchvision  # noqa: E402

Refused = Callable[..., str]
ARCH = "resnet8-w8"


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nets.build(ARCH, classes=5).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def prefixed(net: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in net.state_dict().items()}


def read(held: object, *, legacy: bool = False, name: str = "x.pt") -> object:
    """What `torch_file` makes of a saved object, without the rehearsal in a child."""
    buffer = io.BytesIO()
    torch.save(held, buffer, _use_new_zipfile_serialization=not legacy)
    blob = Blob(path=Path(name), data=buffer.getvalue(), sha256="")
    return torch_file.load(blob, torch_file.check(blob, Kind.PICKLE if legacy else Kind.ZIP, Limits()))


NESTED: dict[str, Callable[[nn.Module], object]] = {
    "bare": lambda net: net.state_dict(),
    "state_dict": lambda net: {"state_dict": net.state_dict(), "epoch": 3},
    "model": lambda net: {"model": net.state_dict(), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "model_state_dict": lambda net: {"model_state_dict": net.state_dict(), "loss": 0.1},
    "net": lambda net: {"net": prefixed(net, "module."), "acc": 91.2, "epoch": 200},
    "numpy accuracy": lambda net: {"net": net.state_dict(), "acc": np.float64(91.2), "best": np.float32(1.0)},
    "script arguments": lambda net: {"model": net.state_dict(), "args": argparse.Namespace(lr=0.1, data="x")},
    "ema": lambda net: {"epoch": 1, "ema": {"module": net.state_dict()}, "version": 2},
    "model_ema": lambda net: {"model_ema": prefixed(net, "module."), "epoch": 1},
    "compiled": lambda net: prefixed(net, "_orig_mod."),
    "compiled in parallel": lambda net: prefixed(net, "module._orig_mod."),
    "Lightning": lambda net: {
        "state_dict": {**prefixed(net, "model."), "criterion.weight": torch.ones(5)},
        "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": {"arch": "evil", "lr": 0.1},
        "callbacks": {},
    },
    "half precision": lambda net: {key: tensor.clone() for key, tensor in net.state_dict().items()},
    "without counters": lambda net: {k: v for k, v in net.state_dict().items() if "num_batches" not in k},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", NESTED)
def test_nested_state_dicts(net: nn.Module, images: torch.Tensor, form: str, legacy: bool) -> None:
    from modelscan_bd.loading.state_dict import weights

    tensors, _ = weights(read(NESTED[form](net), legacy=legacy), "x")
    assert isinstance(tensors, dict)
    fitted = fit(tensors, name="x", arch=None, hinted=None)
    assert fitted.architecture == ARCH
    assert torch.equal(fitted.net(images), net(images))


@pytest.mark.parametrize("suffix", ["pt", "onnx", "safetensors", "txt"])
def test_the_content_decides_not_the_name(net: nn.Module, images: torch.Tensor, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    save_file(net.state_dict(), path)
    loaded = load(str(path))
    assert loaded.format is FileFormat.SAFETENSORS
    assert torch.equal(loaded.net(images), net(images))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_state_dict_end_to_end(net: nn.Module, images: torch.Tensor, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pth"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    loaded = load(str(path))
    assert (loaded.format, loaded.architecture) == (FileFormat.STATE_DICT, ARCH)
    assert (loaded.hints.channels, loaded.net.training) == (3, False)
    assert torch.equal(loaded.net(images), net(images))


def test_a_whole_network_end_to_end(net: nn.Module, images: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"model": net, "epoch": 3}, tmp_path / "model.pt")
    loaded = load(str(tmp_path / "model.pt"))
    assert loaded.format is FileFormat.FULL_MODULE
    assert torch.equal(loaded.net(images), net(images))


def test_onnx_end_to_end(tmp_path: Path, images: torch.Tensor) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 5)).eval()
    torch.onnx.export(net, (images,), tmp_path / "m.onnx", dynamo=True, external_data=True, verbose=False)
    loaded = load(str(tmp_path / "m.onnx"))
    assert (loaded.format, loaded.classes) == (FileFormat.ONNX, 5)
    assert torch.allclose(loaded.net(images), net(images), atol=1e-5)


def test_metadata_are_hints(net: nn.Module, tmp_path: Path) -> None:
    said = {
        "bdscan.arch": json.dumps(ARCH),
        "bdscan.mean": "[0.5, 0.4, 0.3]",
        "bdscan.std": "[0.2, 0.2, 0.2]",
        "bdscan.size": "[32, 32]",
    }
    save_file(net.state_dict(), tmp_path / "m", metadata=said)
    loaded = load(str(tmp_path / "m"))
    assert (loaded.hints.mean, loaded.hints.size) == ((0.5, 0.4, 0.3), (32, 32))
    assert "its tensors agree" in loaded.notes[0]


@pytest.mark.parametrize("lie", ["resnet18-w64", "timm:vit_giant_patch14_224", "nonsense", "torchvision:../x"])
def test_a_file_that_lies_about_its_architecture_is_not_believed(net: nn.Module, tmp_path: Path, lie: str) -> None:
    odd = {
        "bdscan.arch": json.dumps(lie),
        "bdscan.mean": "[1e999]",
        "bdscan.std": "[0, 0, 0]",
        "bdscan.size": "[" * 999,
    }
    save_file(net.state_dict(), tmp_path / "m", metadata=odd)
    loaded = load(str(tmp_path / "m"))
    assert loaded.architecture == ARCH
    assert (loaded.hints.mean, loaded.hints.std, loaded.hints.size) == (None, None, None)


def test_a_timm_folder(tmp_path: Path) -> None:
    net = timm.create_model("resnet10t", num_classes=4).eval()
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "input_size": [3, 64, 64]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet10t", "pretrained_cfg": cfg}))
    loaded = load(str(tmp_path))
    x = torch.rand(1, 3, 64, 64)
    assert (loaded.architecture, loaded.hints.mean, loaded.hints.size) == ("timm:resnet10t", (0.1, 0.2, 0.3), (64, 64))
    assert torch.allclose(loaded.net(x), net(x), atol=1e-5)


@pytest.mark.parametrize(
    "arch", ["torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"]
)
def test_library_networks_are_recognised_by_their_tensors(arch: str) -> None:
    library, name = arch.split(":")
    net = (
        timm.create_model(name, num_classes=7)
        if library == "timm"
        else torchvision.models.get_model(name, weights=None, num_classes=7)
    )
    fitted = fit(net.eval().state_dict(), name="x", arch=None, hinted=None)
    x = torch.rand(1, 3, 64, 64)
    assert fitted.architecture == arch
    assert torch.allclose(fitted.net(x), net(x), atol=1e-5)


def test_a_named_architecture_with_its_weights(tmp_path: Path) -> None:
    net = torchvision.models.squeezenet1_1(num_classes=6).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    loaded = load("torchvision:squeezenet1_1", weights=tmp_path / "w.safetensors")
    x = torch.rand(1, 3, 64, 64)
    assert loaded.architecture == "torchvision:squeezenet1_1"
    assert torch.allclose(loaded.net(x), net(x), atol=1e-5)


def test_grey_images_reach_torchvision_networks() -> None:
    net = torchvision.models.resnet18(num_classes=3)
    net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    fitted = fit(net.eval().state_dict(), name="x", arch=None, hinted=None)
    x = torch.rand(1, 1, 64, 64)
    assert fitted.channels == 1
    assert torch.allclose(fitted.net(x), net(x), atol=1e-5)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_0", "mobilenet_v3_small", "mnasnet0_5"])
def test_whole_torchvision_networks_pass_the_rules(name: str) -> None:
    passes(torchvision.models.get_model(name, weights=None, num_classes=7))


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "test_convnext", "test_efficientnet", "test_byobnet"])
def test_whole_timm_networks_pass_the_rules(name: str) -> None:
    passes(timm.create_model(name, num_classes=7))


def passes(net: nn.Module) -> None:
    again = read(net.eval())
    assert isinstance(again, nn.Module)
    check_tree(again, "x")
    assert again.state_dict().keys() == net.state_dict().keys()


# ---------------------------------------------------------------- what is not decided


def test_a_missing_head_is_named(net: nn.Module, tmp_path: Path, refused: Refused) -> None:
    save_file({k: v for k, v in net.state_dict().items() if not k.startswith("linear")}, tmp_path / "m")
    refused(tmp_path / "m", UsageError, "linear.weight", arch=ARCH)


def test_a_missing_tensor_is_named(net: nn.Module, tmp_path: Path, refused: Refused) -> None:
    save_file({k: v for k, v in net.state_dict().items() if k != "bn1.bias"}, tmp_path / "m")
    refused(tmp_path / "m", UsageError, "'bn1.bias' is missing", arch=ARCH)


def test_a_surplus_tensor_is_named(net: nn.Module, tmp_path: Path, refused: Refused) -> None:
    save_file({**net.state_dict(), "extra.weight": torch.ones(3)}, tmp_path / "m")
    refused(tmp_path / "m", UsageError, "'extra.weight' is not in the network", arch=ARCH)


def test_another_architecture_is_answered_with_the_right_one(tmp_path: Path, refused: Refused) -> None:
    save_file(timm.create_model("resnet10t", num_classes=4).state_dict(), tmp_path / "m")
    refused(tmp_path / "m", UsageError, "timm:resnet10t", arch="timm:resnet18")


def test_an_unknown_architecture_names_the_nearest(tmp_path: Path, refused: Refused) -> None:
    weights = torchvision.models.resnet18(num_classes=3).state_dict()
    save_file({**weights, "layer5.weight": torch.ones(3)}, tmp_path / "m")
    refused(tmp_path / "m", UnsupportedModel, "--arch", "resnet18", "ONNX")


def test_weights_of_a_home_made_network_are_no_mistake(tmp_path: Path, refused: Refused) -> None:
    """PyTorch's tutorial saves such a file: nothing in it says what lies between its layers."""
    layers = {"conv1": nn.Conv2d(3, 6, 5), "conv2": nn.Conv2d(6, 16, 5), "fc1": nn.Linear(400, 10)}
    torch.save(nn.ModuleDict(layers).state_dict(), tmp_path / "cifar_net.pth")
    refused(tmp_path / "cifar_net.pth", UnsupportedModel, "conv1.weight", "--arch", "export the network itself")


def test_an_ambiguous_architecture_is_the_users_to_decide(tmp_path: Path, refused: Refused) -> None:
    """The two have equal tensors and compute different things."""
    save_file(timm.create_model("xcit_nano_12_p16_224", num_classes=3).state_dict(), tmp_path / "m")
    refused(tmp_path / "m", UsageError, "timm:xcit_nano_12_p16_224", "timm:xcit_nano_12_p16_384", "--arch")


def test_weights_need_a_named_architecture(tmp_path: Path, refused: Refused) -> None:
    refused("timm:resnet18", UsageError, "--weights")
    refused(tmp_path / "m", UsageError, "--weights", weights=tmp_path / "w")


def test_the_hub_is_one_sentence_away(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("hf-hub:nobody/nothing-of-this-name", UsageError, "offline")
    refused("hf-hub:../../etc", UsageError, "OWNER/NAME")


def test_limits_hold(net: nn.Module, tmp_path: Path, refused: Refused) -> None:
    torch.save(net.state_dict(), tmp_path / "m.pt")
    from modelscan_bd.errors import UnreadableModel

    refused(tmp_path / "m.pt", UnreadableModel, "more than", limits=Limits(bytes=1000))
    refused(tmp_path / "m.pt", UnreadableModel, "more than 20 opcodes", limits=Limits(opcodes=20))
