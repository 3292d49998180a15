"""Files that are no attack and no classifier either: each is told what it is, and what to export instead."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modelscan_bd.errors import UnreadableModel, UnsafeModel, UnsupportedModel, UsageError

Refused = Callable[..., str]
WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model"


# ---------------------------------------------------------------- of PyTorch and of pickle


def test_a_state_dict_of_protocol_4(path: Path, refused: Refused) -> None:
    torch.save(WEIGHTS, path, pickle_protocol=4)
    refused(path, UnsupportedModel, "protocol 4", "torch.save's default protocol")


def test_a_plain_pickle(path: Path, refused: Refused) -> None:
    path.write_bytes(pickle.dumps(OrderedDict(a=1)))
    refused(path, UnsupportedModel, "torch.save did not write")


def test_a_scikit_learn_model(path: Path, refused: Refused) -> None:
    path.write_bytes(b"\x80\x04csklearn.svm\nSVC\n)\x81}b.")
    refused(path, UnsupportedModel, "sklearn", "does not unpickle")


def test_a_pickled_payload_alone(path: Path, payload: object, refused: Refused) -> None:
    path.write_bytes(pickle.dumps(payload))
    refused(path, UnsafeModel, "posix.system")


def test_torchscript(path: Path, refused: Refused) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3)), path)
    refused(path, UnsupportedModel, "TorchScript", "Export the original network to ONNX")


def test_an_exported_program(path: Path, refused: Refused) -> None:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),)), buffer)
    path.write_bytes(buffer.getvalue())
    refused(path, UnsupportedModel, ".pt2")


def test_a_whole_network_in_the_old_format(path: Path, refused: Refused) -> None:
    torch.save(nn.Linear(3, 2), path, _use_new_zipfile_serialization=False)
    refused(path, UnsupportedModel, "old format")


def test_only_an_optimiser(path: Path, refused: Refused) -> None:
    torch.save({"state": {}, "param_groups": [{"lr": 0.1}]}, path)
    refused(path, UnsupportedModel, "no weights")


# ---------------------------------------------------------------- other files


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", UnsupportedModel, "empty"),
        (b"this is no model\n" * 9, UnsupportedModel, "text file"),
        (b"<html><body>404 Not Found</body></html>", UnsupportedModel, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", UnsupportedModel, "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), UnsupportedModel, "PNG picture"),
        (b"GGUF" + bytes(40), UnsupportedModel, "GGUF"),
        (b"\x1c\0\0\0TFL3" + bytes(40), UnsupportedModel, "TensorFlow Lite"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), UnsupportedModel, "Keras"),
        (b"\x93NUMPY\x01\0" + bytes(40), UnsupportedModel, "NumPy"),
        (b"\x1f\x8b\x08" + bytes(40), UnsupportedModel, "gzip"),
        (bytes(257) + b"ustar" + bytes(40), UnsupportedModel, "tar archive"),
        (b"\x08\x01\x12\x04\x0a\x02\x08\x01", UnsupportedModel, "SavedModel"),
        (b"\x7fELF" + bytes(40), UnsupportedModel, "native program"),
        (bytes(range(256)), UnreadableModel, "no model format"),
    ],
)
def test_other_files(path: Path, refused: Refused, content: bytes, error: type, words: str) -> None:
    path.write_bytes(content)
    refused(path, error, words)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["config.json", "metadata.json", "model.weights.h5"], "Keras"),
        (["weight.npy", "bias.npy"], ".npz"),
    ],
)
def test_other_archives(path: Path, refused: Refused, members: list[str], words: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for member in members:
            file.writestr(member, b"x")
    refused(path, UnsupportedModel, words)


def test_a_named_pipe(path: Path, refused: Refused) -> None:
    os.mkfifo(path)
    refused(path, UsageError, "not a regular file")


def test_no_file(path: Path, refused: Refused) -> None:
    refused(path, UsageError, "no file")


def test_a_folder_without_weights(path: Path, refused: Refused) -> None:
    path.mkdir()
    refused(path, UsageError, "model.safetensors")


def test_a_saved_model_folder(path: Path, refused: Refused) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")
    refused(path, UnsupportedModel, "SavedModel", "ONNX")


def test_a_folder_in_shards(path: Path, refused: Refused) -> None:
    path.mkdir()
    (path / "model.safetensors.index.json").write_text("{}")
    refused(path, UnsupportedModel, "shards")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (
            ["backbone.body.conv1.weight", "rpn.head.conv.0.0.weight", "roi_heads.box_head.fc6.weight"],
            "object detector",
        ),
        (["model.0.conv.weight", "model.22.cv2.0.0.conv.weight", "model.22.dfl.conv.weight"], "object detector"),
        (["backbone.conv1.weight", "classifier.0.weight", "aux_classifier.0.weight"], "segmentation"),
        (["bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight"], "language model"),
        (["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "lm_head.weight"], "language model"),
        (["visual.conv1.weight", "logit_scale", "text_projection"], "image-and-text"),
        (["base_model.model.fc.lora_A.weight"], "LoRA"),
    ],
)
def test_weights_of_another_kind_of_network(path: Path, refused: Refused, names: list[str], kind: str) -> None:
    save_file({name: torch.ones(4, 4) for name in names}, path)
    refused(path, UnsupportedModel, kind)
