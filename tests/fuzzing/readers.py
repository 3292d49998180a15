"""Every reader of bytes that bdscan has, as a function of a file's bytes and of a folder to work in."""

from __future__ import annotations

from pathlib import Path

from modelscan_bd import known, rulebook
from modelscan_bd.audit import examine, recognise
from modelscan_bd.audit.onnx_model import parsed
from modelscan_bd.bench import own as own_models
from modelscan_bd.bench import store, truth
from modelscan_bd.bench.zoo import suite
from modelscan_bd.graph.from_onnx import graph_of
from modelscan_bd.graph.patterns import patterns
from modelscan_bd.loading import Limits, blob, index, onnx_file, torch_file
from modelscan_bd.loading import folder as folders
from modelscan_bd.loading.metadata import from_safetensors
from modelscan_bd.loading.safetensors_file import load
from modelscan_bd.loading.sniff import Kind, kind_of
from modelscan_bd.loading.state_dict import weights
from modelscan_bd.onnx_engine.convert import _well_formed
from modelscan_bd.onnx_engine.inputs import input_hints, input_of
from modelscan_bd.onnx_engine.limits import Limits as Ceilings
from modelscan_bd.onnx_engine.prepare import prepared


def read_audit(data: bytes, folder: Path) -> None:
    examine(data, path=folder / "model.onnx")


def read_recognise(data: bytes, _: Path) -> None:
    recognise.archive([part.decode("utf-8", "replace") for part in data[:2000].split(b"/")])
    recognise.is_cut_onnx(data)
    recognise.text(data)
    if data:
        kind_of("model", data)


def read_load(data: bytes, folder: Path) -> None:
    """What `load` does until torch or onnxruntime gets the bytes."""
    path = folder / "model"
    path.write_bytes(data)
    file = blob.read(path, Limits())
    kind = kind_of("model", file.data)
    if kind is Kind.SAFETENSORS:
        read = load(file)
        from_safetensors(read.metadata)
        found, _ = weights(read.tensors, "model")
        index.candidates({name: tuple(tensor.shape) for name, tensor in found.items()})
    elif kind is Kind.ONNX:
        onnx_file.read(file, Limits())
    else:
        torch_file.check(file, kind, Limits())


def read_graph(data: bytes, _: Path) -> None:
    tuple(patterns(graph_of(parsed(data, "model"))))


def read_engine(data: bytes, folder: Path) -> None:
    """Everything between the loader and the first operator that is lowered."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    model = onnx_file.read(blob.read(path, Limits()), Limits())
    with _well_formed():
        entrance = input_of(model)
        ready = prepared(model, Ceilings())
        input_hints(model, entrance, ready.graph, ready.weights)


def read_rules(data: bytes, folder: Path) -> None:
    own = folder / "rules"
    own.mkdir(exist_ok=True)
    (own / "own.toml").write_bytes(data)
    rulebook.read(own)


def read_known_models(data: bytes, folder: Path) -> None:
    own = folder / "own"
    own.mkdir(exist_ok=True)
    (own / known.FILE).write_bytes(data)
    rulebook.load(own)


def read_suite(data: bytes, folder: Path) -> None:
    path = folder / "suite.toml"
    path.write_bytes(data)
    suite.load(str(path))


def read_truth(data: bytes, folder: Path) -> None:
    (folder / "card.json").write_bytes(data)
    (folder / "weights.safetensors").write_bytes(b"1")
    truth.known(folder)


def read_own_models(data: bytes, folder: Path) -> None:
    table = folder / "models.csv"
    table.write_bytes(data)
    (folder / "a.onnx").write_bytes(b"1")
    own_models.read(folder, table)


def read_measurements(data: bytes, folder: Path) -> None:
    path = folder / store.FILE
    path.write_bytes(data)
    for journal in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + journal).unlink(missing_ok=True)
    store.read([path])


def read_config(data: bytes, folder: Path) -> None:
    (folder / "config.json").write_bytes(data)
    folders.read_config(folder / "config.json", Limits())
