"""Damaged files end in a network or in one sentence; never in a traceback, a hang or a run of what they carry."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from modelscan_bd.errors import BdscanError
from modelscan_bd.loading import Limits, torch_file
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.module_tree import check_tree
from modelscan_bd.loading.safetensors_file import load as load_safetensors
from modelscan_bd.loading.sniff import Kind, kind_of
from modelscan_bd.loading.state_dict import weights

WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@functools.cache
def intact(form: str) -> bytes:
    if form == "safetensors":
        return safetensors.torch.save(WEIGHTS)
    buffer = io.BytesIO()
    held = nn.Sequential(nn.Linear(3, 2), nn.ReLU()) if form == "module" else {"model": WEIGHTS, "epoch": 3}
    torch.save(held, buffer, _use_new_zipfile_serialization=form != "legacy")
    return buffer.getvalue()


def read(data: bytes) -> None:
    """All that `load` does with a file, but for the rehearsal in a child."""
    blob = Blob(path=Path("model"), data=data, sha256=hashlib.sha256(data).hexdigest())
    kind = kind_of("model", data)
    if kind is Kind.SAFETENSORS:
        weights(load_safetensors(blob).tensors, "model")
    elif kind in (Kind.ZIP, Kind.PICKLE):
        found, _ = weights(torch_file.load(blob, torch_file.check(blob, kind, Limits())), "model")
        if isinstance(found, nn.Module):
            check_tree(found, "model")


@pytest.mark.parametrize("form", ["safetensors", "state dict", "legacy", "module"])
@FEW
@given(data=st.data())
def test_flipped_bytes(form: str, data: st.DataObject) -> None:
    damaged = bytearray(intact(form))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    _lives_through(bytes(damaged))


@pytest.mark.parametrize("form", ["safetensors", "state dict", "legacy"])
@FEW
@given(cut=st.floats(0, 1), more=st.binary(max_size=20))
def test_cut_and_continued_files(form: str, cut: float, more: bytes) -> None:
    whole = intact(form)
    _lives_through((whole[: int(cut * len(whole))] + more) or b"x")


@FEW
@given(stream=st.binary(min_size=1, max_size=200))
def test_noise_after_a_pickle_head(stream: bytes) -> None:
    _lives_through(b"\x80\x02" + stream)


def _lives_through(data: bytes) -> None:
    with contextlib.suppress(BdscanError):
        read(data)
