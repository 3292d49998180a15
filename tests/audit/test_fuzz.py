"""Whatever the bytes, every reader ends: with what it has to say or with one sentence, soon, and in little memory.

A short walk along the paths of `tests/fuzz.py`, and what longer ones have found.
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import tarfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
from fuzzing.parsers import PARSERS, Parser
from fuzzing.seeds import CANARY
from fuzzing.worker import Worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelscan_bd import rulebook
from modelscan_bd.audit import Budget, examine, pickles
from modelscan_bd.audit.ledger import Exhausted, Ledger
from modelscan_bd.bench import own, store, truth
from modelscan_bd.bench.zoo import suite
from modelscan_bd.errors import UnreadableModel, UsageError
from modelscan_bd.graph.from_onnx import graph_of
from modelscan_bd.graph.patterns import patterns

FEW = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=PARSERS, ids=lambda parser: parser.name)
def parser(request: pytest.FixtureRequest) -> Parser:
    found: Parser = request.param
    return found


@pytest.fixture
def worker(parser: Parser) -> Iterator[Worker]:
    found = Worker(parser.read, CANARY)
    yield found
    found.close()


@FEW
@given(number=st.integers(0, 2**32))
def test_changed_files_are_read_to_an_end(parser: Parser, worker: Worker, number: int) -> None:
    outcome = worker.run(parser.input(Random(number), parser.seeds(False)))
    assert not outcome.what, outcome.details


@pytest.mark.parametrize(
    "parser", [parser for parser in PARSERS if parser.fresh is not None], ids=lambda parser: parser.name
)
@FEW
@given(data=st.data())
def test_invented_files_are_read_to_an_end(parser: Parser, worker: Worker, data: st.DataObject) -> None:
    assert parser.fresh is not None
    outcome = worker.run(data.draw(parser.fresh))
    assert not outcome.what, outcome.details


# ---------------------------------------------------------------- what long runs have found


def test_pickles_that_break_off_count_too() -> None:
    """10 kB of them took eight seconds, and twice as many four times that: only whole ones were counted."""
    data = b"\x80\x04\n" + b"\x80\x04" * 1000 + b"\n"
    assert "BD906" in {remark.rule for remark in examine(data, Budget(opcodes=100_000))}


def test_the_search_for_names_ends_in_time() -> None:
    with pytest.raises(Exhausted, match="seconds"):
        pickles.search(b"cx\ny\n" * 100, 0, 500, "", Ledger(Budget(seconds=0.0)))


def test_a_name_across_two_windows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_WINDOW", 8)
    ledger = Ledger(Budget())
    data = bytes(5) + b"cposix\nsystem\n" + bytes(20)
    pickles.search(data, 0, len(data), "", ledger)
    assert [remark.rule for remark in ledger.close()] == ["BD905"]


def test_one_long_text_in_many_names_takes_little_memory() -> None:
    """Each name was kept with its module's: ten gigabytes for a file of two megabytes."""
    module = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"q\0"
    names = b"".join(b"0h\0X\x05\0\0\0n%04d\x93" % number for number in range(500))
    tracemalloc.start()
    examine(b"\x80\x02" + module + names + b".")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_members_with_endless_names_take_little_memory() -> None:
    """Each header says that the 64 kB behind it, all further headers, are its name."""
    header = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 65535, 0)
    tracemalloc.start()
    remarks = examine(header * 300 + bytes(70_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "The member's name is longer than any system allows." in {remark.message for remark in remarks}
    assert peak < 2**23


def test_a_tar_header_of_digits_costs_little() -> None:
    """Python 3.11.7 takes the square of its length: half a minute for 200 kB."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("x")
        member.type, member.size = tarfile.XHDTYPE, 200_000
        archive.addfile(member, io.BytesIO(b"1" * 200_000))
    began = time.process_time()
    assert "BD903" in {remark.rule for remark in examine(buffer.getvalue())}
    assert time.process_time() - began < 2


def test_a_tensor_of_nothing_reserves_nothing() -> None:
    """numpy was asked for 2^63 four-bit numbers, times none."""
    model = helper.make_model(helper.make_graph([], "g", [], []))
    model.graph.initializer.add(name="w", data_type=TensorProto.INT4, dims=[2**62, 2, 0])
    assert graph_of(model).nodes == ()


def _network(*nodes: onnx.NodeProto, functions: Sequence[onnx.FunctionProto] = ()) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [image], [answer]), functions=functions)


def test_thousands_of_choices_are_looked_at_in_seconds() -> None:
    """Before each lay thousands of nodes, and all were counted anew: minutes for 300 kB."""
    nodes = [helper.make_node("Where", ["x", f"n{i - 1}" if i else "x", "x"], [f"n{i}"]) for i in range(5000)]
    graph = graph_of(_network(*nodes, helper.make_node("Relu", ["n4999"], ["y"])))
    began = time.process_time()
    assert len(tuple(patterns(graph))) >= 4000
    assert time.process_time() - began < 4


def test_joins_far_from_where_they_part_are_looked_at_in_seconds() -> None:
    """The way back was walked step by step for each of them."""
    chain = [helper.make_node("Relu", [f"n{i - 1}" if i else "x"], [f"n{i}"]) for i in range(3000)]
    joins = [helper.make_node("Concat", ["x", "n2999", f"n{i}"] * 6, [f"j{i}"]) for i in range(2900)]
    graph = graph_of(_network(*chain, *joins, helper.make_node("Relu", ["j0"], ["y"])))
    began = time.process_time()
    assert graph.dominators[3001] == 0
    assert time.process_time() - began < 2


def test_a_constant_in_a_function_is_kept_once() -> None:
    """Two hundred calls are two hundred copies; ten thousand were gigabytes."""
    weights = numpy_helper.from_array(np.ones(2**16, dtype=np.float32), "w")
    constant = helper.make_node("Constant", [], ["w"], value=weights)
    body = helper.make_function("l", "f", ["x"], ["y"], [constant, helper.make_node("Mul", ["x", "w"], ["y"])], [])
    graph = graph_of(_network(*(helper.make_node("f", ["x"], ["y"], domain="l") for _ in range(200)), functions=[body]))
    assert len({id(node.constants[0]) for node in graph.nodes if node.constants}) == 1


@pytest.mark.parametrize("shape", ["many graphs", "many outputs", "many inputs"])
def test_names_that_multiply_are_not_written_out(shape: str) -> None:
    """A function's many names for each call, or all names for each of many empty graphs: hours for a megabyte."""
    many = 20_000
    body = helper.make_function(
        "l", "f", ["x"], ["x"] * (many if shape == "many outputs" else 1),
        [helper.make_node("Concat", ["x"] * (many if shape == "many inputs" else 1), ["x"])], [],
    )  # fmt: skip
    nodes = [helper.make_node("f", ["x"], ["x"], domain="l") for _ in range(200)]
    if shape == "many graphs":
        nodes = [helper.make_node("Relu", ["x"], [f"n{i}"]) for i in range(200)] + [
            helper.make_node("If", ["x"], ["y"])
        ]
        nodes[-1].attribute.append(onnx.AttributeProto(name="b", graphs=[onnx.GraphProto()] * many))
    with pytest.raises(UnreadableModel):
        graph_of(_network(*nodes, functions=[body]))


@pytest.mark.parametrize(
    "text",
    [
        "\ufffe".encode("utf-16"),
        b"about = " + b"9" * 5000,
        b"about = " + b"[" * 100_000,
        b"models = 3",
        b"recipes.a = {epochs = inf}",
        b"datasets.a = {train = inf, shape = [1, 2, 3], classes = 2}",
        b"recipes.a = 'b'",
        b"models = ['a']",
        b"recipes.a = {}\n[[models]]\ndatasets='d'\narchs='a'\nrecipes='a'\nattacks=[3]",
        b"recipes.a = {}\n[[models]]\ndatasets='d'\narchs=[3]\nrecipes='a'",
        b"recipes.a = {like = []}",
        b"[[models]]\ndatasets='d'\narchs='a'\nrecipes=[[]]",
    ],
)
def test_a_strange_suite_is_refused_in_one_sentence(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_bytes(text)
    with pytest.raises(UsageError):
        suite.load(str(tmp_path / "suite.toml"))


def test_a_rule_nested_without_end_is_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"own\.toml"):
        rulebook.parse("a = " + "[" * 100_000, origin="own.toml")


@pytest.mark.parametrize("change", [{"recipe": 3}, {"recipe": {}}, {"class_names": 5}])
def test_a_card_of_odd_parts_is_read_without_them(change: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"1")
    (tmp_path / "card.json").write_text(json.dumps(dict.fromkeys(store.TRUTH, "x") | {"file": "w"} | change))
    found = truth.known(tmp_path).truth
    assert found["recipe"] is None
    assert found["classes"] is None


@pytest.mark.parametrize("text", ["[" * 100_000, json.dumps(dict.fromkeys((*store.TRUTH, "file"), "a\0b"))])
def test_a_broken_card_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(UsageError):
        truth.known(tmp_path)


@pytest.mark.parametrize("row", [f"{'a' * 400},benign,", f"a,benign,{'b' * 400}"])
def test_a_name_longer_than_the_system_allows_is_no_file(row: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "models.csv").write_text(f"file,outcome,images\n{row}\n")
    with pytest.raises(UsageError, match="there is no"):
        own.read(tmp_path, tmp_path / "models.csv")


def test_measurements_that_are_no_text_are_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / store.FILE
    with store.opened(file) as kept:
        kept.enter("a", "0", dict.fromkeys(store.TRUTH, "benign"))
    with closing(sqlite3.connect(file)) as connection:
        row = ("a", "d", "none", 0, 0, "ok", "{}", "{}", 1.0, "", "", "")
        connection.execute(f"INSERT INTO cells VALUES ({', '.join('?' * 12)})", row)
        connection.execute("UPDATE cells SET reason = CAST(x'ff' AS TEXT)")
        connection.commit()
    with pytest.raises(UsageError, match="cannot be used"):
        store.read([file])
