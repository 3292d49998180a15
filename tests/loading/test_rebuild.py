"""What torch is told to rebuild: the list of names is torch's own or spelt out, and calls are as writers make them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from audit.corpus import call, group, named, number, stream, tensor, torch_zip, word

from modelscan_bd.audit import names
from modelscan_bd.audit.names import Grade, Rebuilt
from modelscan_bd.errors import BdscanError, UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.loading import Limits, torch_file
from modelscan_bd.loading.blob import Blob
from modelscan_bd.loading.layer_classes import safe_globals
from modelscan_bd.loading.rebuild import Wanted
from modelscan_bd.loading.sniff import Kind

SIX = tensor(elements=6, size=(2, 3), stride=(3, 1))
DICTIONARY = named("collections.OrderedDict") + group() + b"R"
LINEAR = named("torch.nn.modules.linear.Linear")


def check(body: bytes, protocol: int = 2) -> Wanted:
    data = torch_zip(stream(body, protocol), data__0=bytes(24))
    return torch_file.check(Blob(path=Path("model.pt"), data=data, sha256=""), Kind.ZIP, Limits())


def entries() -> dict[str, names.Entry]:
    exact, patterns = names._entries()
    assert all(entry.rebuilt is Rebuilt.NOT for _, entry in patterns), "only single names are rebuilt, and layers"
    return {name: entry for name, entry in exact.items() if entry.rebuilt is not Rebuilt.NOT}


def test_what_is_rebuilt_runs_nothing() -> None:
    grades = {entry.grade for entry in entries().values()}
    assert grades <= {Grade.CALL, Grade.BYTES, Grade.NAME, Grade.PARTIAL, Grade.PLAIN}


def test_torch_knows_what_the_list_says_it_knows() -> None:
    own = torch._weights_only_unpickler._get_allowed_globals()  # type: ignore[attr-defined]
    known = {name for name, entry in entries().items() if entry.rebuilt is Rebuilt.KNOWN}
    assert known - set(own) == set()
    told = [name for name, entry in entries().items() if entry.rebuilt is Rebuilt.TOLD]
    assert len(safe_globals([], told)) >= len(told)


def test_what_torch_must_be_told() -> None:
    wanted = check(b"}" + word("net") + LINEAR + b")\x81s" + word("args") + named("argparse.Namespace") + b")\x81s")
    assert wanted == Wanted(
        layers=frozenset({"torch.nn.modules.linear.Linear"}), others=frozenset({"argparse.Namespace"})
    )


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (call("torch.device", group(word("cpu"))), UnsafeModel, "torch.device"),
        (call("torch.Size", group(b"]")), UnsafeModel, "torch.Size"),
        (call("builtins.set", b"]" + LINEAR + b"a"), UnsafeModel, "builtins.set"),
        (call("functools.partial", named("torch.FloatStorage")), UnsafeModel, "functools.partial"),
        (call("numpy.dtype", word("O8")), UnsafeModel, "numpy.dtype"),
        (call("numpy.core.multiarray.scalar", word("f4"), word("x")), UnsafeModel, "scalar"),
        (call("torch._utils._rebuild_parameter", LINEAR, b"\x88", DICTIONARY), UnsafeModel, "_rebuild_parameter"),
        (named("torch.Size") + b")\x81", UnsafeModel, "torch.Size"),
        (named("torch.FloatStorage") + b")\x81", UnsafeModel, "torch.FloatStorage"),
        (DICTIONARY + b"}" + word("x") + b"Nsb", UnsupportedModel, "attributes"),
        (call("torch.device", word("cpu")) + b"}b", UnsupportedModel, "attributes"),
        (LINEAR + b")\x81}" + number(1) + b"Nsb", UnsafeModel, "a state that"),
        (call("torch.device", word("cpu")) + number(0) + b"Ns", UnreadableModel, "memory"),
        (named("torch.Tensor"), UnsupportedModel, "torch.Tensor"),
        (named("collections.defaultdict") + b")\x81", UnsupportedModel, "collections.defaultdict"),
        (group(word("module"), LINEAR, word("net.py"), word("class Linear")) + b"Q", UnsupportedModel, "old format"),
        (group(word("storage"), LINEAR, word("0"), word("cpu"), number(6)) + b"Q", UnreadableModel, "storage"),
        (b"X\x02\0\0\0\xff\xfe", UnreadableModel, "cannot be read"),
    ],
)
def test_what_torch_would_take_and_nobody_writes(body: bytes, error: type[BdscanError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        check(body)
    assert type(caught.value) is error


def test_a_storage_that_is_a_view_of_another() -> None:
    view = group(word("0"), number(0), number(6))
    storage = group(word("storage"), named("torch.FloatStorage"), word("0"), word("cpu"), number(6), view) + b"Q"
    with pytest.raises(UnsupportedModel, match="views of others"):
        check(storage)


def test_hooks_that_are_added_later() -> None:
    late = SIX.replace(DICTIONARY, DICTIONARY + b"q\x07")
    with pytest.raises(UnsafeModel, match="hooks"):
        check(b"}" + word("w") + late + b"sh\x07" + number(0) + b"Ns0")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_protocols_than_the_second(protocol: int) -> None:
    with pytest.raises(UnsupportedModel, match=f"protocol {protocol}"):
        check(b"}" + word("w") + SIX + b"s", protocol)
