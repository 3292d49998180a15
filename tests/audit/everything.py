"""All files of the audit's corpora in one folder, each in a folder of its own, for tools that are run on them.

    python tests/audit/everything.py FOLDER CANARY

prints one line of JSON per file: its group, its name, its path.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder only

from audit import corpus, onnx_corpus, programs
from audit.bypass import named
from audit.onnx_corpus import Sample
from audit.past_bypasses import past


def everything(canary: Path) -> Iterator[tuple[str, str, Sample]]:
    """Group, name, and what writes the file."""
    for name, data in [*corpus.pickles(canary).items(), *corpus.archives(canary).items()]:
        yield "malicious pickle", name, usual(data)
    for name, sample in onnx_corpus.MALICIOUS.items():
        yield "malicious other", name, sample
    for name, data in programs.attacking(canary).items():
        yield "malicious other", name, named("model.pt", data)
    for name, bypass in past(canary).items():
        kind = "malicious other" if bypass.rule.startswith("BD92") else "malicious pickle"
        yield "hostile" if bypass.hostile else kind, name, bypass.sample
    for name, make in corpus.hostile().items():
        yield "hostile", name, lambda folder, make=make: usual(make())(folder)
    for name, sample in onnx_corpus.HOSTILE.items():
        yield "hostile", name, sample
    for name, sample in onnx_corpus.TEXTS.items():
        yield "text", name, sample
    for name, data in [*corpus.plain().items(), *corpus.checkpoints().items()]:
        yield "benign", name, usual(data)
    for name, sample in onnx_corpus.BENIGN.items():
        yield "benign", f"ONNX and others: {name}", sample
    for name, data in programs.honest().items():
        yield "benign", name, named("model.pt2" if "pt2" in name else "model.pt", data)


def usual(data: bytes) -> Sample:
    """Under the extension that such a file has, by which some tools choose what to read."""
    if data.startswith(b"\x93NUMPY"):
        return named("model.npy", data)
    if b"PK\x03\x04" in data[:64]:
        return named("model.npz" if _holds_arrays(data) else "model.pt", data)
    legacy = data[2:14].endswith(b"l\xfc\x9cF\xf9 j\xa8P")
    return named("model.pt" if legacy or data[257:262] == b"ustar" else "model.pkl", data)


def _holds_arrays(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return all(name.endswith((".npy", ".npz")) for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def main() -> None:
    folder, canary = map(Path, sys.argv[1:])
    for number, (group, name, sample) in enumerate(everything(canary)):
        own = folder / str(number)
        own.mkdir(parents=True)
        print(json.dumps({"group": group, "name": name, "path": str(sample(own))}))


if __name__ == "__main__":
    main()
