"""What a file is, by its content, where it is none of the formats that bdscan reads: named, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import final

from modelscan_bd.audit.data import Data
from modelscan_bd.audit.protobuf import cut_short, outermost
from modelscan_bd.audit.remark import Budget, Remark
from modelscan_bd.errors import UnsupportedModel
from modelscan_bd.grades import Confidence, Severity

_EXPORT = "Export the network to ONNX, or save its state_dict as safetensors."
_UNPACK = "Unpack it and scan the model inside."
_AGAIN = "Name the model file itself; if this should be one, download it again."
_GRAPH, _FIELDS_OF_ONNX = 7, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_TAGS_IN_GRAPH = frozenset(number << 3 | 2 for number in (1, 2, 5, 10, 11, 12, 13, 14, 15))
_READ_HEAD = 4096  # bytes that show whether a file is text


@final
@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Another format. `what` fits behind "is"; `dangers` are what its own loader may run."""

    what: str
    remedy: str
    is_model: bool = True
    dangers: tuple[str, ...] = ()

    def error(self, name: str) -> UnsupportedModel:
        rest = ", which bdscan does not read" if self.is_model else ", not a model"
        return UnsupportedModel(f"{name} is {self.what}{rest}", remedy=self.remedy)


_MAGICS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "a Keras or other HDF5 file", _EXPORT),
    (0, b"GGUF", "a GGUF file, which holds a language model", _EXPORT),
    (0, b"lmgg", "a GGML file, which holds a language model", _EXPORT),
    (4, b"TFL3", "a TensorFlow Lite file", _EXPORT),
    (4, b"ET12", "an ExecuTorch file", _EXPORT),
    (4, b"PTMF", "a PyTorch Mobile file", _EXPORT),
    (4, b"ORTM", "an onnxruntime (.ort) file", "Scan the ONNX file that it was made from."),
    (0, b"ptrt", "a TensorRT engine, a program compiled for one device", _EXPORT),
    (0, b"ftrt", "a TensorRT engine, a program compiled for one device", _EXPORT),
    (0, b"RKNN", "an RKNN file, a program compiled for one device", _EXPORT),
    (0, b"\x93NUMPY", "a NumPy array", _EXPORT),
    (0, b"RDX2\n", "an R workspace", _EXPORT),
    (0, b"RDX3\n", "an R workspace", _EXPORT),
    (0, b"X\n\0\0\0", "a serialised R object", _EXPORT),
    (0, b"A\n2\n", "a serialised R object", _EXPORT),
    (0, b"A\n3\n", "a serialised R object", _EXPORT),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\x04\x22\x4d\x18", "an LZ4 archive", _UNPACK),
    (0, b"x\x9c", "a zlib stream, as joblib writes it", _EXPORT),
    (0, b"x\xda", "a zlib stream, as joblib writes it", _EXPORT),
    (0, b"x\x01", "a zlib stream, as joblib writes it", _EXPORT),
    (0, b"\x7fELF", "a native program or library", _AGAIN),
    (0, b"\xcf\xfa\xed\xfe", "a native program or library", _AGAIN),
    (0, b"\xca\xfe\xba\xbe", "a native or Java program", _AGAIN),
    (0, b"MZ", "a Windows program or library", _AGAIN),
)
_NOT_A_MODEL: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a RIFF (WebP, WAV, AVI) file"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1", "a Parquet table"),
    (b"ARROW1", "an Arrow table"),
)
_TEXTS: tuple[tuple[str, str, str, bool], ...] = (
    (r"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the file: git lfs pull.", False),
    (r"\s*(<\?xml[^>]*>\s*)?(<!--.{0,400}?-->\s*)?<net\s", "an OpenVINO network", _EXPORT, True),
    (r"\s*(<\?xml[^>]*>\s*)?<PMML\b", "a PMML model", _EXPORT, True),
    (r"\s*(<!--.{0,400}?-->\s*)?<(!doctype html|html|head|body)\b", "a web page", _AGAIN, False),
    (r"7767517\s", "an ncnn network", _EXPORT, True),
    (r"\s*(name\s*:|layer\s*\{|input\s*:)", "a Caffe network or another text-format message", _EXPORT, True),
    (r"#!\s*/", "a script", _AGAIN, False),
    (r"\s*[\[{]", "a JSON or similar text file", _AGAIN, False),
)  # fmt: skip
_DANGERS = (
    (rb'"class_name"\s{0,4}:\s{0,4}"Lambda"', "a Lambda layer: Python code, which Keras can be told to run"),
    (b"\x12\x09WriteFile", "the operator WriteFile, which writes files"),
    (b"\x12\x08ReadFile", "the operator ReadFile, which reads any file"),
    (b"\x12\x0eMatchingFiles", "the operator MatchingFiles, which lists folders"),
    (b"\x12\x06PyFunc", "the operator PyFunc, which calls Python"),
    (b"\x12\x0bEagerPyFunc", "the operator EagerPyFunc, which calls Python"),
)


def foreign(data: Data) -> Foreign | None:
    """The format of a file that bdscan does not read; None for what it reads, and for what nobody knows."""
    if not data:
        return Foreign(what="empty", remedy="Download or export it again.", is_model=False)
    if is_safetensors(data):  # whose length, at the beginning, may happen to be another's magic
        return None
    for offset, magic, what, remedy in _MAGICS:
        if data.startswith(magic, offset):
            return Foreign(what=what, remedy=remedy, dangers=_dangers(data) if "HDF5" in what else ())
    for head, what in _NOT_A_MODEL:
        if data.startswith(head):
            return Foreign(what=what, remedy=_AGAIN, is_model=False)
    return _protobuf(data) or _flatbuffer(data)


def text(data: Data) -> Foreign | None:
    """The same for text, asked only once all else is excluded: old pickles are text too."""
    if not is_text(data[:_READ_HEAD]):
        return None
    head = data[:_READ_HEAD].decode("utf-8", "ignore").removeprefix("\ufeff")
    for pattern, what, remedy, is_model in _TEXTS:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            return Foreign(what=what, remedy=remedy, is_model=is_model)
    return Foreign(what="a text file", remedy=_AGAIN, is_model=False)


def archive(names: Collection[str]) -> Foreign | None:
    """The format of a zip archive, by its members; None for one that torch.save wrote, or nobody knows."""
    ends = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in ends or "bytecode.pkl" in ends or any(end.startswith("code/") for end in ends):
        what = "a TorchScript file. It is a program, and PyTorch has no way to read it without running it"
    elif "archive_format" in ends or any("exported_program" in end or end.startswith("models/") for end in ends):
        what = "a torch.export (.pt2) file. PyTorch cannot read it without unpickling parts of it"
    elif "model.weights.h5" in names or {"config.json", "metadata.json"} <= set(names):
        what = "a Keras file"
    elif "MAR-INF/MANIFEST.json" in names:
        what = "a TorchServe archive, which holds Python code"
    elif any(name.endswith("saved_model.pb") for name in names):
        what = "an archive of a TensorFlow SavedModel"
    elif names and all(name.endswith(".npy") for name in names):
        what = "a NumPy archive (.npz)"
    else:
        return None
    return Foreign(what=what, remedy="Export the original network to ONNX, or save its state_dict as safetensors.")


def is_onnx(data: Data) -> bool:
    """Whether the outermost layer is that of an ONNX model: a graph, and a version or operator sets."""
    fields = outermost(data)
    versioned = fields.get(1) == 0 or fields.get(8) == 2
    return versioned and fields.get(7) == 2 and fields.get(1, 0) == 0 and fields.get(8, 2) == 2


def is_cut_onnx(data: Data) -> bool:
    """Whether the bytes are the beginning of an ONNX model: they end in the middle of its graph."""
    fields, inside = cut_short(data)
    known = fields.get(1) == 0 and next(reversed(fields), 0) == _GRAPH and fields.keys() <= _FIELDS_OF_ONNX
    return known and data[inside] in _TAGS_IN_GRAPH


def is_safetensors(data: Data) -> bool:
    """A JSON table behind its length, whose last four bytes are zero as a pickle's at this place are not."""
    return data[8:9] == b"{" and (data[4:8] == bytes(4) or data[0] != 0x80)


def is_text(head: bytes) -> bool:
    try:
        decoded = head.decode("utf-8", "strict" if len(head) < _READ_HEAD else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in decoded)


def remarks(data: Data, place: str, budget: Budget) -> Iterator[Remark] | None:
    """Names the format of a file that bdscan does not read, and what in it could run; None for all others.

    Texts and empty files inside archives are nothing to speak of.
    """
    del budget  # a few looks at the beginning, and one search
    if place and not data:
        return None
    found = foreign(data) or (None if place else text(data))
    return _remarks(found, place) if found else None


def archive_remarks(members: Mapping[str, bytes], place: str, budget: Budget) -> Iterator[Remark] | None:
    """The same for the members of an archive that is no TorchScript and no pt2."""
    del budget
    found = archive(members.keys())
    if found is None or "config.json" not in members:
        return _remarks(found, place) if found else None
    return _remarks(
        Foreign(what=found.what, remedy=found.remedy, dangers=_dangers(members["config.json"][: 2**24])), place
    )


def _remarks(found: Foreign, place: str) -> Iterator[Remark]:
    message = f"This is {found.what}. {found.remedy}"
    yield Remark(rule="BD932", severity=Severity.INFO, confidence=Confidence.HIGH, message=message, place=place)
    for danger in found.dangers:
        message = f"The file holds {danger}."
        yield Remark(rule="BD933", severity=Severity.MEDIUM, confidence=Confidence.MEDIUM, message=message, place=place)


def _protobuf(data: Data) -> Foreign | None:
    fields = outermost(data)
    if not fields or is_onnx(data):
        return None
    numbers = set(fields)
    what = ""
    if fields.get(1) == 0 and max(numbers) >= 200 and numbers - {1, 2, 10} == {max(numbers)}:
        what = "a Core ML model"
    elif numbers == {1, 2} and fields[2] == 2:
        what = "a TensorFlow SavedModel" if fields[1] == 0 else ""
    elif fields.get(1) == 2 and numbers <= {1, 4, 5} and b"\x08\x00\x10\xff\xff\xff\xff" in data[:24]:
        what = "a PaddlePaddle program"
    elif fields.get(1) == 2 and 100 in numbers:
        what = "a Caffe model"
    elif fields.get(1) == 2 and numbers <= {1, 2, 3, 4} and re.match(rb"\x0a.{1,4}?\x0a.{1,300}?\x12", data, re.DOTALL):
        what = "a TensorFlow graph"
    return Foreign(what=what, remedy=_EXPORT, dangers=_dangers(data)) if what else None


def _flatbuffer(data: Data) -> Foreign | None:
    """MNN writes FlatBuffers without a name of their own; the tool's name is among the first or last strings."""
    root = int.from_bytes(data[:4], "little")
    if not 8 <= root <= 256 or len(data) < root + 4:
        return None
    table = root - int.from_bytes(data[root : root + 4], "little", signed=True)
    if not 0 < table < len(data):
        return None
    own, described = (int.from_bytes(data[table + at : table + at + 2], "little") for at in (0, 2))
    if own % 2 or not 4 <= own <= 128 or not 4 <= described <= 256:
        return None
    if b"MNN" in data[:_READ_HEAD] or b"MNN" in data[-_READ_HEAD:]:
        return Foreign(what="an MNN model", remedy=_EXPORT)
    return None


def _dangers(data: Data) -> tuple[str, ...]:
    return tuple(what for sign, what in _DANGERS if re.search(sign, data))
