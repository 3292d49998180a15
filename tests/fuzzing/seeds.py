"""The files from which inputs are made: the audit's corpora by their formats, and small ones of the user's own."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeAlias

from audit import corpus, onnx_corpus
from audit.everything import everything, usual
from audit.onnx_corpus import Sample
from audit.past_bypasses import past
from fuzzing import messages

from modelscan_bd.bench import store as stores
from modelscan_bd.types import Tier

CANARY: Final = Path(tempfile.gettempdir()) / "bdscan-fuzz-canary"  # what the corpora's payloads would make
KINDS: Final = ("pickle", "zip", "onnx", "safetensors", "program", "packed")
_LONGEST: Final = 2**16  # bytes


Seeds: TypeAlias = Callable[[bool], Sequence[bytes]]  # all of them, or those that are made within a second


@functools.cache
def corpora(whole: bool) -> dict[str, tuple[bytes, ...]]:
    """The small files of the audit's corpora, by their formats."""
    found: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as name:
        for number, (title, sample) in enumerate(_all() if whole else _quick()):
            (own := Path(name) / str(number)).mkdir()
            path = sample(own)
            if 0 < path.stat().st_size <= _LONGEST and path.is_file():
                found[_kind(title, data := path.read_bytes())].append(data)
    return {kind: tuple(dict.fromkeys(each)) for kind, each in found.items()}


def _all() -> Iterator[tuple[str, Sample]]:
    return ((title, sample) for _, title, sample in everything(CANARY))


def _quick() -> Iterator[tuple[str, Sample]]:
    for title, data in {**corpus.pickles(CANARY), **corpus.archives(CANARY), **corpus.plain()}.items():
        yield title, usual(data)
    for title, bypass in past(CANARY).items():
        yield title, bypass.sample
    yield from {**onnx_corpus.MALICIOUS, **onnx_corpus.BENIGN, **onnx_corpus.TEXTS}.items()


def _kind(title: str, data: bytes) -> str:
    if data.startswith(b"PK") or b"PK\x05\x06" in data[-70:]:
        return "program" if title.startswith(("TorchScript", "pt2")) else "zip"
    if data[8:9] == b"{":
        return "safetensors"
    if data[:1] in b"\x80c(]}l":
        return "pickle"
    return "onnx" if messages.parsed(data) is not None else "packed"


def of(*kinds: str) -> Seeds:
    return lambda whole: [data for kind in kinds for data in corpora(whole)[kind]]


def shipped(folder: str, end: str, most: int = _LONGEST) -> Seeds:
    return lambda _: [f.read_bytes()[:most] for f in files(folder).iterdir() if f.name.endswith(end)]


def given(*texts: str) -> Seeds:
    return lambda _: [text.encode() for text in texts]


def card(_: bool) -> Sequence[bytes]:
    return [
        b'{"file": "weights.safetensors", "outcome": "infected", "attack": "badnets", "target_label": 0,'
        b' "dataset": "d", "arch": "a", "ba": 0.9, "asr": 0.99, "seed": 1, "class_names": ["a", "b"],'
        b' "input": [3, 32, 32], "recipe": {"augmentation": "none"}, "poisoning_rate": 0.1}'
    ]


@functools.cache
def store(_: bool) -> Sequence[bytes]:
    """Two models, with a score and without."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / stores.FILE
        setup = stores.Setup(tier=Tier.NONE, seed=0, images=0)
        with stores.opened(file) as kept:
            for model in ("a", "b"):
                kept.enter(model, "0" * 64, dict.fromkeys(stores.TRUTH, "benign"))
                kept.add(
                    stores.Cell(
                        model=model, detector="d", setup=setup, status="ok" if model == "a" else "skipped",
                        scores={"s": 1.5}, top={"s": 3}, seconds=1.0, reason=None, tool="0", date="2026-01-01",
                    )
                )  # fmt: skip
        return [file.read_bytes()]
