"""A museum: PyTorch files that attack whoever loads them. Each was taken by some loader or missed by some scanner."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from modelscan_bd.errors import UnreadableModel, UnsafeModel, UnsupportedModel
from modelscan_bd.loading import Limits

Refused = Callable[..., str]
WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def archive(path: Path, members: dict[str, bytes], *, deflate: bool = False) -> Path:
    """A torch archive with these members, in this order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as file:
        for name, data in {"archive/version": b"3\n", "archive/byteorder": b"little", **members}.items():
            file.writestr(name, data)
    return path


def pickled(path: Path, stream: bytes, **storages: bytes) -> Path:
    """A torch archive around a hand-written pickle; `storages` are named s0, s1, ..."""
    data = {f"archive/data/{name[1:]}": held for name, held in storages.items()}
    return archive(path, {"archive/data.pkl": b"\x80\x02" + stream + b".", **data})


def word(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tensor(*, elements: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """The opcodes of one float tensor in storage 0."""
    storage = b"(" + word("storage") + b"ctorch\nFloatStorage\n" + word("0") + word("cpu") + number(elements) + b"tQ"
    shape = b"(" + b"".join(map(number, size)) + b"t(" + b"".join(map(number, stride)) + b"t"
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + shape + b"\x89" + hooks + b"tR"


def named(value: bytes, name: str = "weight") -> bytes:
    return b"}" + word(name) + value + b"s"


# ---------------------------------------------------------------- code


def test_a_shell_command_among_the_weights(path: Path, payload: object, refused: Refused) -> None:
    torch.save({**WEIGHTS, "extra": payload}, path)
    refused(path, UnsafeModel, "posix.system", "data.pkl", "byte")


def test_a_shell_command_in_a_legacy_file(path: Path, payload: object, refused: Refused) -> None:
    """modelscan 0.8.8 does not look into the five streams of the old format."""
    torch.save({**WEIGHTS, "extra": payload}, path, _use_new_zipfile_serialization=False)
    refused(path, UnsafeModel, "posix.system")


def test_a_shell_command_in_the_legacy_system_record(path: Path, payload: object, refused: Refused) -> None:
    """The third stream comes before the object, and is unpickled by every loader."""
    parts = [
        pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": payload}, {}, [])
    ]
    path.write_bytes(b"".join(parts))
    refused(path, UnsafeModel, "posix.system")


def test_eval_and_exec_by_their_old_names(path: Path, refused: Refused) -> None:
    """Protocol 2 writes Python 2's names, and loaders translate them: __builtin__ is builtins."""
    refused(pickled(path, b"c__builtin__\neval\n" + word("1") + b"\x85R"), UnsafeModel, "builtins.eval")


def test_a_name_that_reaches_through_a_module(path: Path, refused: Refused) -> None:
    """Dotted names in STACK_GLOBAL walk from an allowed module into os (fickling GHSA-5j3x-jp52-966f)."""
    stream = word("torch.serialization") + word("os.system") + b"\x93" + word("true") + b"\x85R"
    refused(pickled(path, stream), UnsafeModel, "torch.serialization.os.system")


def test_a_name_computed_while_loading(path: Path, refused: Refused) -> None:
    stream = word("os") + b"ccollections\nOrderedDict\n)R" + b"\x93)R"
    refused(pickled(path, stream), UnsafeModel, "computes the name")


@pytest.mark.parametrize("name", ["subprocess\nPopen", "torch\nload", "numpy\nload", "importlib\nimport_module"])
def test_second_stages_and_processes(path: Path, refused: Refused, name: str) -> None:
    refused(pickled(path, f"c{name}\n".encode() + word("x") + b"\x85R"), UnsafeModel, name.replace("\n", "."))


def test_an_unknown_function_that_is_called(path: Path, refused: Refused) -> None:
    """The default is no: block-lists have been passed by more than sixty published names."""
    refused(
        pickled(path, b"csomebodys.library\nhelper\n" + word("x") + b"\x85R"), UnsafeModel, "somebodys.library.helper"
    )


def test_a_payload_before_a_break(path: Path, refused: Refused) -> None:
    """Loaders run what comes before a broken opcode."""
    refused(pickled(path, b"cos\nsystem\n" + word("true") + b"\x85R\xff"), UnsafeModel, "os.system")


def test_a_payload_after_the_end(path: Path, payload: object, refused: Refused) -> None:
    archive(path, {"archive/data.pkl": pickle.dumps({}, protocol=2) + pickle.dumps(payload, protocol=2)})
    refused(path, UnsafeModel, "posix.system")


@pytest.mark.parametrize("call", [b"(icode\nInteractiveConsole\n", b"(ccode\nInteractiveConsole\no", b"\x82\x01)R"])
def test_the_opcodes_of_old_pickles(path: Path, refused: Refused, call: bytes) -> None:
    """INST, OBJ and EXT call as well, and torch never writes them."""
    refused(pickled(path, call), UnsafeModel)


def twice(path: Path, *streams: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for stream in streams:
            file.writestr("archive/data.pkl", stream)


def test_two_objects_of_the_same_name(path: Path, payload: object, refused: Refused) -> None:
    """torch reads the first data.pkl, Python's zipfile the last; three of four scanners see only the harmless one."""
    twice(path, pickle.dumps(payload, protocol=2), pickle.dumps({}, protocol=2))
    refused(path, UnsafeModel, "posix.system")


def test_two_harmless_objects_of_the_same_name(path: Path, refused: Refused) -> None:
    twice(path, pickle.dumps({}, protocol=2), pickle.dumps({}, protocol=2))
    refused(path, UnreadableModel, "twice")


def test_a_renamed_member(path: Path, payload: object, refused: Refused) -> None:
    """A pickle under another name than data.pkl is a pickle all the same."""
    archive(
        path, {"archive/data.pkl": pickle.dumps({}, protocol=2), "archive/notes": pickle.dumps(payload, protocol=2)}
    )
    refused(path, UnsafeModel, "archive/notes")


def test_a_constructor_with_chosen_arguments(path: Path, refused: Refused) -> None:
    """Linear(2^20, 2^20) through REDUCE reaches a 4 TB allocation under weights_only."""
    stream = b"ctorch.nn.modules.linear\nLinear\n" + number(2**20) + number(2**20) + b"\x86R"
    refused(pickled(path, stream), UnsafeModel, "torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("name", ["torch\nTensor", "torch.storage\nUntypedStorage", "__builtin__\nbytearray"])
def test_constructors_that_only_eat_memory(path: Path, refused: Refused, name: str) -> None:
    """On torch's own default list, and reported as safe by get_unsafe_globals_in_checkpoint."""
    refused(pickled(path, f"c{name}\n".encode() + number(2**36) + b"\x85R"), UnsafeModel)


def test_a_partial_of_a_function(path: Path, refused: Refused) -> None:
    stream = b"cfunctools\npartial\ncbuiltins\nprint\n\x85R"
    refused(pickled(path, stream), UnsafeModel, "builtins.print")


# ---------------------------------------------------------------- networks that are not what their classes say


def test_a_replaced_forward(path: Path, refused: Refused) -> None:
    """weights_only sets any attribute: this loads without a word, and is another network."""
    net = nn.Sequential(nn.Linear(3, 2))
    net.__dict__["forward"] = nn.Linear(3, 2)
    torch.save(net, path)
    refused(path, UnsafeModel, "something to run as forward")


def test_a_layer_as_a_hook(path: Path, refused: Refused) -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    net._forward_hooks[0] = nn.Linear(3, 2)
    torch.save(net, path)
    refused(path, UnsafeModel, "hooks")


def test_a_network_inside_itself(path: Path, refused: Refused) -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    net._modules["again"] = net
    torch.save(net, path)
    refused(path, UnreadableModel, "nests its layers without end")


def test_a_network_that_eats_the_memory(path: Path, refused: Refused) -> None:
    """Harmless classes and 200 bytes of weights; one image through it takes 150 GB. Only the rehearsal meets it."""
    torch.save(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Upsample(scale_factor=2000)), path)
    refused(path, UnreadableModel, "needs more than 1.0 GiB of memory", limits=Limits(memory=2**30))


def test_one_layer_ten_million_times(path: Path, refused: Refused) -> None:
    """A file of a few kilobytes whose forward pass never ends."""
    layer = nn.Conv2d(3, 3, 1)
    for _ in range(7):
        layer = nn.Sequential(*[layer] * 10)  # type: ignore[assignment]
    torch.save(layer, path)
    refused(path, UnreadableModel, "more than 10000 layers")


def test_a_class_of_the_users_own(path: Path, refused: Refused) -> None:
    stream = b"c__main__\nMyNet\n)\x81}b"
    refused(pickled(path, stream), UnsupportedModel, "__main__.MyNet", "torch.nn, torchvision and timm", "state_dict")


# ---------------------------------------------------------------- tensors that lie


def test_a_claim_of_four_terabytes(path: Path, refused: Refused) -> None:
    stream = named(tensor(elements=2**40, size=(2**40,), stride=(1,)))
    refused(pickled(path, stream, s0=b"\0" * 16), UnreadableModel, "Storage 0", "has 16")


def test_a_tensor_beyond_its_storage(path: Path, refused: Refused) -> None:
    stream = named(tensor(elements=4, size=(4,), stride=(1,), offset=2**40))
    refused(pickled(path, stream, s0=b"\0" * 16), UnreadableModel, "beyond its storage")


def test_one_number_repeated_without_end(path: Path, refused: Refused) -> None:
    """Stride 0 is legal: sixteen bytes become forty gigabytes when the tensor is copied."""
    stream = named(tensor(elements=4, size=(2**33,), stride=(0,)))
    refused(pickled(path, stream, s0=b"\0" * 16), UnreadableModel, "repeats a storage")


def test_negative_strides(path: Path, refused: Refused) -> None:
    refused(pickled(path, named(tensor(elements=4, size=(2,), stride=(-1,))), s0=b"\0" * 16), UnreadableModel)


def test_a_sparse_tensor(path: Path, refused: Refused) -> None:
    """Wild indices are not checked on loading, and crash later (pytorch#184750, CVE-2025-62164)."""
    wild = torch.sparse_coo_tensor(torch.tensor([[10**9]]), torch.ones(1), (10**9 + 1,), check_invariants=False)
    torch.save({"weight": wild}, path)
    refused(path, UnsupportedModel, "sparse")


def test_a_quantised_tensor(path: Path, refused: Refused) -> None:
    torch.save({"weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, path)
    refused(path, UnsupportedModel)


def test_items_put_into_something_else(path: Path, refused: Refused) -> None:
    """CVE-2026-24747: SETITEM on what is no dictionary."""
    stream = tensor(elements=4, size=(4,), stride=(1,)) + number(0) + number(1) + b"s"
    refused(pickled(path, stream, s0=b"\0" * 16), UnreadableModel, "writes into the memory of a tensor")


def test_hooks_on_a_tensor(path: Path, refused: Refused) -> None:
    stream = named(tensor(elements=4, size=(4,), stride=(1,))).replace(
        b"OrderedDict\n)R", b"OrderedDict\n)R" + word("a") + b"Ns"
    )
    refused(pickled(path, stream, s0=b"\0" * 16), UnsafeModel, "hooks")


# ---------------------------------------------------------------- archives that lie


def test_a_zip_bomb(path: Path, refused: Refused) -> None:
    archive(
        path, {"archive/data.pkl": pickle.dumps({}, protocol=2), "archive/data/0": bytes(300 * 2**20)}, deflate=True
    )
    refused(path, UnreadableModel, "inflate to more than")


def test_a_bomb_that_declares_little(path: Path, refused: Refused) -> None:
    """Both headers say 16 bytes; the stream holds a megabyte."""
    archive(path, {"archive/data.pkl": pickle.dumps({}, protocol=2), "archive/data/0": bytes(1234567)}, deflate=True)
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 1234567), struct.pack("<L", 16)))
    refused(path, UnreadableModel, "inflates to more, as a zip bomb does")


def test_a_truncated_archive(path: Path, refused: Refused) -> None:
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, UnreadableModel, "cut off")


def test_a_wrong_checksum(path: Path, refused: Refused) -> None:
    torch.save({"weight": torch.full((64,), 7.25)}, path)
    path.write_bytes(path.read_bytes().replace(struct.pack("<f", 7.25), struct.pack("<f", 9.5), 1))
    refused(path, UnreadableModel, "not those that its headers declare")


def test_two_headers_with_different_names(path: Path, refused: Refused) -> None:
    archive(path, {"archive/data.pkl": pickle.dumps({}, protocol=2)})
    path.write_bytes(path.read_bytes().replace(b"archive/data.pkl", b"archive/data.xyz", 1))
    refused(path, UnreadableModel, "Its own header calls it")


@pytest.mark.parametrize("flag", [0x01, 0x20, 0x40])
def test_encryption_and_patch_flags(path: Path, refused: Refused, flag: int) -> None:
    """Scanners skip a member that they believe to be encrypted; torch reads it."""
    archive(path, {"archive/data.pkl": pickle.dumps({}, protocol=2)})
    data = bytearray(path.read_bytes())
    local, central = data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")
    data[local + 6] |= flag
    data[central + 8] |= flag
    path.write_bytes(data)
    refused(path, UnreadableModel, "encrypted or patched")


def test_a_path_out_of_the_archive(path: Path, refused: Refused) -> None:
    archive(path, {"archive/data.pkl": pickle.dumps({}, protocol=2), "archive/../../.bashrc": b"x"})
    refused(path, UnreadableModel, "leads out of the folder")


def test_bytes_before_the_archive(path: Path, refused: Refused) -> None:
    """A file that is a pickle to one reader and a zip to another."""
    torch.save(WEIGHTS, path)
    path.write_bytes(b"PK\x03\x04" + bytes(60) + path.read_bytes())
    refused(path, UnreadableModel)


def test_overlapping_members(path: Path, refused: Refused) -> None:
    """Two directory entries that share one compressed stream, as in overlapping zip bombs."""
    archive(
        path,
        {"archive/data.pkl": pickle.dumps({}, protocol=2), "archive/data/0": b"a" * 64, "archive/data/1": b"a" * 64},
    )
    data = path.read_bytes()
    first, second = data.find(b"archive/data/0") - 30, data.find(b"archive/data/1") - 30
    directory = data.find(b"PK\x01\x02")
    path.write_bytes(data[:directory] + data[directory:].replace(struct.pack("<L", second), struct.pack("<L", first)))
    refused(path, UnreadableModel)
