"""Exports many real architectures, with random weights, to ONNX files that keep the structure and drop the weights.

    python tests/graph_sweep.py FOLDER [--timm 320] [--exporter dynamo] [--only NAME,NAME]

Small ones of every family in timm come first, one of each of its source files, then all classifiers of torchvision,
then further families of timm. Each attempt runs in a process of its own under limits of time and memory; a line of
FOLDER/sweep.csv says what came of it, and what has a line is not tried again. A stored file lacks the values of
every weight with more than 4096 elements, so no runtime can run it. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import multiprocessing
import os
import re
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import onnx
import torch
from torch import nn

from modelscan_bd.torchvision_shim import prepare

KEPT = 4096  # elements of a weight that is stored with its values
SMALL = 96  # pixels a side, where the architecture takes any size
GIB = 2**30
STORED = "stored"
_SIZES = "tiny small base large huge giant nano pico femto atto zepto micro mini medium plus xtiny"
_LETTERS = "xxs xs s m l xl t b h g n a v x w p r k"  # after a digit or alone these are sizes too
_CLIPPED = 200  # characters of an error


@final
@dataclass(frozen=True, kw_only=True)
class Architecture:
    source: str  # timm or torchvision
    name: str
    module: str  # the file that defines it
    parameters: int


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line of the table."""

    source: str
    name: str
    module: str
    parameters: int
    seconds: float
    exporter: str = ""
    side: int = 0  # pixels
    nodes: int = 0
    bytes: int = 0
    outcome: str = STORED


def family(name: str) -> str:
    """The name without what only says how large a variant is: `vit_tiny_patch16_224` gives `vit`."""
    words = (re.sub(r"\d+", "", word) for word in name.split("_"))
    return "_".join(word for word in words if word and word not in (_SIZES + " " + _LETTERS + " patch window").split())


def of_timm() -> Iterator[Architecture]:
    """Their parameters are counted without being allocated."""
    from timm.models import _registry, list_models

    for name in list_models():
        with torch.device("meta"):
            parameters = sum(weight.numel() for weight in build("timm", name).parameters())
        module = _registry._model_to_module[name]
        yield Architecture(source="timm", name=name, module=module, parameters=parameters)


def of_torchvision() -> Iterator[Architecture]:
    import torchvision.models as tv

    for name in tv.list_models(module=tv):
        parameters = next(iter(tv.get_model_weights(name))).meta["num_params"]
        yield Architecture(source="torchvision", name=name, module="torchvision", parameters=parameters)


def build(source: str, name: str) -> nn.Module:
    import timm
    import torchvision

    net: nn.Module
    if source == "timm":
        net = timm.create_model(name, pretrained=False)
    else:
        known = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = torchvision.models.get_model(name, weights=None, **known)
    return net.eval().requires_grad_(False)


def known(folder: Path) -> list[Architecture]:
    """All architectures of both libraries; counting takes minutes, so the counts are kept."""
    file = folder / "architectures.json"
    if not file.exists():
        file.write_text(json.dumps([asdict(one) for one in itertools.chain(of_timm(), of_torchvision())], indent=1))
    return [Architecture(**one) for one in json.loads(file.read_text())]


def chosen(all_of_them: list[Architecture], most: int, parameters: int) -> list[Architecture]:
    """The smallest of every file, then torchvision, then the smallest of every further family, file by file."""
    small = sorted((one for one in all_of_them if one.parameters <= parameters), key=lambda one: one.parameters)
    by_module: dict[str, dict[str, Architecture]] = {}
    for one in small:
        if one.source == "timm":
            by_module.setdefault(one.module, {}).setdefault(family(one.name), one)
    rounds = itertools.zip_longest(*(families.values() for families in by_module.values()))
    ordered = [one for row in rounds for one in row if one is not None][:most]
    first = len(by_module)
    return ordered[:first] + [one for one in small if one.source == "torchvision"] + ordered[first:]


def sides(one: Architecture) -> list[int]:
    """Input sizes to try, in pixels."""
    import timm

    if one.source == "torchvision":
        return [224] if one.name.startswith("vit") else [SMALL, 224, 299]
    known = timm.get_pretrained_cfg(one.name)
    default = known.input_size[-1] if known else 224
    return [default] if known and known.fixed_input_size else [SMALL, default]


def exported(net: nn.Module, side: int, exporter: str) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.onnx"
        if exporter == "dynamo":
            batch = ({0: torch.export.Dim("batch", min=1, max=1024)},)
            torch.onnx.export(
                net, (torch.randn(2, 3, side, side),), file, dynamo=True, dynamic_shapes=batch, verbose=False
            )
            return onnx.load(file)
        free = {"input": {0: "n"}, "logits": {0: "n"}}
        torch.onnx.export(
            net, (torch.randn(1, 3, side, side),), str(file), dynamo=False, opset_version=17,
            input_names=["input"], output_names=["logits"], dynamic_axes=free,
        )  # fmt: skip
        return onnx.load(file)


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model; large weights, in nodes too, keep their dimensions and their type alone."""
    in_nodes = (a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)
    for tensor in itertools.chain(model.graph.initializer, in_nodes):
        if torch.Size(tensor.dims).numel() > KEPT:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
                tensor.ClearField(field)
    for node in itertools.chain(model.graph.node, *(function.node for function in model.functions)):
        del node.metadata_props[:]  # the newer exporter's stack traces: long, and paths of the machine
        node.ClearField("doc_string")
    return model


def export(one: Architecture, exporter: str, side: int, *, memory: int, log: Path, file: Path) -> None:
    """In a child: writes the file. What torch prints, and any traceback, goes to the log."""
    with log.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    torch.manual_seed(0)
    model = exported(build(one.source, one.name), side, exporter)
    file.write_bytes(stripped(model).SerializeToString())


def attempt(one: Architecture, exporter: str, side: int, options: argparse.Namespace, log: Path) -> Outcome:
    file: Path = options.folder / f"{one.source}.{one.name}.onnx"
    how = {"memory": int(options.gib * GIB), "log": log, "file": file}
    start = time.perf_counter()
    child = multiprocessing.get_context("fork").Process(target=export, args=(one, exporter, side), kwargs=how)
    child.start()
    child.join(options.seconds)
    if child.is_alive():
        child.kill()
        child.join()
        reason = f"more than {options.seconds:g} s"
    elif child.exitcode:
        errors = re.findall(r"^\S*(?:Error|Exception).*", log.read_text(errors="replace"), re.MULTILINE)
        reason = f"exit {child.exitcode}: {errors[-1][:_CLIPPED] if errors else ''}"
    else:
        size, nodes = file.stat().st_size, len(onnx.load(file).graph.node)
        seconds = round(time.perf_counter() - start, 1)
        return Outcome(**asdict(one), seconds=seconds, exporter=exporter, side=side, nodes=nodes, bytes=size)
    seconds = round(time.perf_counter() - start, 1)
    return Outcome(**asdict(one), seconds=seconds, exporter=exporter, side=side, outcome=reason)


def first_that_works(one: Architecture, options: argparse.Namespace) -> Outcome:
    """By either exporter, at the first size that it takes; else the last failure."""
    exporters = [options.exporter] + [other for other in ("legacy", "dynamo") if other != options.exporter]
    exporters = exporters[:1] if options.strict else exporters
    with tempfile.TemporaryDirectory() as folder:
        for exporter, side in itertools.product(exporters, sides(one)):
            outcome = attempt(one, exporter, side, options, Path(folder) / "log.txt")
            if outcome.outcome == STORED:
                break
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--timm", type=int, default=320, help="at most so many of timm")
    parser.add_argument("--parameters", type=float, default=150e6, help="nothing with more than these")
    parser.add_argument("--exporter", choices=("legacy", "dynamo"), default="legacy", help="the one tried first")
    parser.add_argument("--strict", action="store_true", help="no other exporter where that one fails")
    parser.add_argument("--only", default="", metavar="NAMES")
    parser.add_argument("--seconds", type=float, default=150, help="for one attempt")
    parser.add_argument("--gib", type=float, default=8, help="address space of one attempt")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    prepare()
    table = options.folder / "sweep.csv"
    done = {(row["source"], row["name"]) for row in csv.DictReader(table.open())} if table.exists() else set()
    wanted = {name for name in options.only.split(",") if name}
    todo = chosen(known(options.folder), options.timm, int(options.parameters))
    todo = [one for one in todo if (one.source, one.name) not in done and (not wanted or one.name in wanted)]
    with table.open("a", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(Outcome.__dataclass_fields__))
        if not done:
            writer.writeheader()
        for number, one in enumerate(todo, 1):
            row = first_that_works(one, options)
            writer.writerow(asdict(row))
            out.flush()
            print(f"{number}/{len(todo)} {row.source} {row.name}: {row.outcome[:90]}, {row.seconds} s", flush=True)


if __name__ == "__main__":
    main()
