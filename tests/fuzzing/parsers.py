"""Who reads what: a reader, the files from which its inputs are made, and the changes that are made to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, final

from fuzzing import archives, messages, opcodes, readers, seeds, texts
from fuzzing.changes import BLIND, Change, changed
from hypothesis import strategies as st


@final
@dataclass(frozen=True, kw_only=True)
class Parser:
    """`read` ends, or raises BdscanError: all else is a failure. Its folder holds what may lie beside a file."""

    name: str
    read: Callable[[bytes, Path], object]
    seeds: seeds.Seeds
    changes: Sequence[Change]
    fresh: st.SearchStrategy[bytes] | None = None  # what makes whole files

    def input(self, rng: Random, files: Sequence[bytes]) -> bytes:
        """One of the files, changed."""
        return changed(rng.choice(files), rng, files, (*self.changes, *self.changes, *BLIND))


_ONNX: Final = (*messages.CHANGES,) * 2
_RULES, _SUITES = "modelscan_bd.rules", "modelscan_bd.bench.zoo.suites"
_CSV: Final = "file,outcome,attack,target_label,dataset,images\na.onnx,infected,badnets,3,d,\na.onnx,benign,,,d,.\n"
_CONFIG: Final = (
    '{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.5, 0.5, 0.5],'
    ' "std": [0.2, 0.2, 0.2], "label_names": ["a", "b"]}}'
)

PARSERS: Final[tuple[Parser, ...]] = (
    Parser(
        name="pickle", read=readers.read_audit, seeds=seeds.of("pickle"), changes=opcodes.CHANGES,
        fresh=opcodes.streams(),
    ),
    Parser(name="zip", read=readers.read_audit, seeds=seeds.of("zip"), changes=archives.OF_ZIP),
    Parser(name="packed", read=readers.read_audit, seeds=seeds.of("packed", "pickle"), changes=archives.OF_PACKED),
    Parser(name="program", read=readers.read_audit, seeds=seeds.of("program"), changes=archives.OF_ZIP),
    Parser(
        name="safetensors", read=readers.read_audit, seeds=seeds.of("safetensors"), changes=texts.OF_SAFETENSORS,
        fresh=texts.safetensors_files(),
    ),
    Parser(name="onnx", read=readers.read_audit, seeds=seeds.of("onnx"), changes=_ONNX, fresh=messages.models()),
    Parser(name="recognise", read=readers.read_recognise, seeds=seeds.of(*seeds.KINDS), changes=BLIND),
    Parser(name="graph", read=readers.read_graph, seeds=seeds.of("onnx"), changes=_ONNX, fresh=messages.models()),
    Parser(name="engine", read=readers.read_engine, seeds=seeds.of("onnx"), changes=_ONNX, fresh=messages.models()),
    Parser(
        name="load", read=readers.read_load, seeds=seeds.of("pickle", "zip", "safetensors", "onnx"),
        changes=(*opcodes.CHANGES, *archives.OF_ZIP, *texts.OF_SAFETENSORS, *_ONNX),
    ),
    Parser(name="rules", read=readers.read_rules, seeds=seeds.shipped(_RULES, ".toml"), changes=texts.OF_LINES),
    Parser(
        name="known-models", read=readers.read_known_models, seeds=seeds.shipped(_RULES, "models.csv", 4000),
        changes=texts.OF_LINES,
    ),
    Parser(name="suite", read=readers.read_suite, seeds=seeds.shipped(_SUITES, ".toml"), changes=texts.OF_LINES),
    Parser(name="card", read=readers.read_truth, seeds=seeds.card, changes=texts.OF_JSON),
    Parser(name="own-models", read=readers.read_own_models, seeds=seeds.given(_CSV), changes=texts.OF_LINES),
    Parser(name="measurements", read=readers.read_measurements, seeds=seeds.store, changes=texts.OF_LINES),
    Parser(name="config", read=readers.read_config, seeds=seeds.given(_CONFIG), changes=texts.OF_JSON),
)  # fmt: skip


def chosen(names: Iterable[str]) -> list[Parser]:
    wanted = set(names)
    return [parser for parser in PARSERS if not wanted or parser.name in wanted]
