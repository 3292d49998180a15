"""Where members of an archive lie, and which of them are bare numbers: what the other members say decides."""

from __future__ import annotations

import pytest
from audit.corpus import archive, call, group, named, number, stream, tensor, torch_zip, word

from modelscan_bd.audit import Remark, examine
from modelscan_bd.grades import Severity

SHELL = stream(call("os.system", word("true")))
SIX = stream(b"}" + word("w") + tensor(elements=6, size=(2, 3), stride=(3, 1)) + b"s")
NUMBERS = bytes(24)


def rules(data: bytes, least: Severity = Severity.MEDIUM) -> set[str]:
    order = list(Severity)
    return {remark.rule for remark in examine(data) if order.index(remark.severity) >= order.index(least)}


def runs_code(remarks: tuple[Remark, ...]) -> list[str]:
    return [remark.place for remark in remarks if remark.rule == "BD901"]


# ---------------------------------------------------------------- storages and their pickle


def test_storages_are_as_large_as_their_pickle_says() -> None:
    assert rules(torch_zip(SIX, data__0=NUMBERS)) == set()
    assert rules(torch_zip(SIX, data__0=NUMBERS[:-4])) == {"BD910"}
    assert rules(torch_zip(SIX)) == {"BD910"}, "a storage that is not there"


def traced(content: bytes) -> bytes:
    """A trace keeps the shapes of its inputs in a pickle of their own."""
    members = {"m/data.pkl": stream(b"}"), "m/traced_inputs.pkl": SIX, "m/traced_inputs/0": content}
    return archive({**members, "m/constants.pkl": stream(b")"), "m/version": b"3\n"})


def test_a_trace_may_leave_out_the_numbers_of_its_inputs() -> None:
    assert rules(traced(b"")) == set()
    assert rules(traced(NUMBERS)) == set()
    assert rules(traced(NUMBERS[:-4])) == {"BD910"}


def test_a_decoy_of_another_ending_is_read_as_the_pickle_that_it_is() -> None:
    """torch takes data.pkl; `data.p` beside it is read as well, and makes no storage its own."""
    loaded = archive({"archive/data.pkl": stream(b"}"), "archive/data.p": SHELL, "archive/data/0": NUMBERS})
    assert runs_code(examine(loaded)) == ["archive/data.p, byte 2"]


# ---------------------------------------------------------------- bare numbers

PICKLE_HEADED = b"\x80\x02" + bytes(22)


@pytest.mark.parametrize("content", [PICKLE_HEADED, b"\x1f\x8b\x08" + bytes(21), b"7z\xbc\xaf\x27\x1c" + bytes(18)])
@pytest.mark.parametrize("folder", ["data", "constants"])
def test_numbers_may_look_like_anything(content: bytes, folder: str) -> None:
    members = {"m/data.pkl": stream(b"}"), "m/constants.pkl": stream(b")"), f"m/{folder}.pkl": SIX}
    assert rules(archive({**members, f"m/{folder}/0": content})) == set()


def test_without_a_pickle_that_refers_to_it_it_is_looked_into() -> None:
    packed = b"7z\xbc\xaf\x27\x1c" + bytes(18)
    assert "BD908" in rules(archive({"m/data.pkl": stream(b"}"), "m/other/0": packed}))


@pytest.mark.parametrize("name", ["m/data/weights/weight_0", "m/data/constants/tensor_0"])
def test_tensors_of_an_exported_program_are_numbers(name: str) -> None:
    packed = b"7z\xbc\xaf\x27\x1c" + bytes(18)
    assert rules(archive({"m/archive_format": b"pt2", name: packed})) == set()
    assert "BD908" in rules(archive({name: packed})), "nothing says that this is an exported program"


@pytest.mark.parametrize("hidden", [SHELL, torch_zip(SHELL)])
@pytest.mark.parametrize("name", ["m/data/0", "m/constants/0", "m/data/weights/weight_0"])
def test_a_pickle_among_the_numbers_is_found_all_the_same(hidden: bytes, name: str) -> None:
    members = {"m/archive_format": b"pt2", "m/data.pkl": stream(b"}"), "m/constants.pkl": stream(b")")}
    assert runs_code(examine(archive({**members, name: hidden})))


# ---------------------------------------------------------------- archives in archives


def test_an_archive_in_an_archive_is_read_with_its_member() -> None:
    assert rules(archive({"a.pt": torch_zip(SIX, data__0=NUMBERS), "README": b"words\n"})) == set()


def test_an_archive_behind_other_bytes_of_a_member_is_no_hiding_place() -> None:
    """Readers that search from the end take the inner directory for the whole file's."""
    found = examine(archive({"a.bin": b"some words\n" + torch_zip(SHELL)}))
    assert runs_code(found)
    assert any(remark.rule in ("BD904", "BD905") for remark in found)


def test_a_directory_is_where_the_end_says() -> None:
    whole = torch_zip(SIX, data__0=NUMBERS)
    assert rules(bytes(40) + whole) == {"BD904"}, "zeros in front move everything"
    end = whole.rindex(b"PK\x05\x06")
    assert "BD904" in rules(whole[: end + 12] + b"\x01" + whole[end + 13 :]), "another size of the directory"


def test_hooks_that_come_after_the_call_are_hooks() -> None:
    """The dictionary of hooks is empty when the tensor is made, and filled later."""
    late = tensor(elements=6, size=(2, 3), stride=(3, 1)).replace(
        named("collections.OrderedDict") + group() + b"R", named("collections.OrderedDict") + group() + b"Rq\x07"
    )
    body = b"}" + word("w") + late + b"s" + b"h\x07" + number(0) + named("torch.nn.modules.linear.Linear") + b")\x81s0"
    assert any(remark.rule == "BD909" for remark in examine(torch_zip(stream(body), data__0=NUMBERS)))
