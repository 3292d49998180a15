"""TorchScript and torch.export archives: programs. They are read as text, and never run.

PyTorch has no safe way to load either: its own reader of TorchScript runs the module's `__setstate__`, and that of .pt2
unpickles whatever the archive's tables say is a pickle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelscan_bd.audit import recognise, sayings
from modelscan_bd.audit.remark import Budget, Remark
from modelscan_bd.audit.texts import shown
from modelscan_bd.grades import Confidence, Severity

_MOST_SOURCE = 16 * 2**20  # bytes of one source file or table
# Texts and comments are passed over. One without an end reaches to the end: the expression never looks back.
_LEXEME = re.compile(
    r"""\#[^\n]*
    | \"{3} (?:[^\\]|\\.)*? \\? (?:\"{3} | (?P<cut_3>\Z)) | '{3} (?:[^\\]|\\.)*? \\? (?:'{3} | (?P<cut_4>\Z))
    | \" (?:[^\"\\\n]|\\.)* \\? (?:\" | (?P<cut_1>(?=\n)|\Z)) | ' (?:[^'\\\n]|\\.)* \\? (?:' | (?P<cut_2>(?=\n)|\Z))
    | (?P<word> \^? [A-Za-z_]\w* (?:\.[A-Za-z_]\w*)* )""",
    re.VERBOSE | re.DOTALL,
)
_CUT = '"'
_MOST_TOLD = 50  # of one source
_OUTSIDE = {
    "save": "writes a file",
    "load": "reads a pickled file",
    "from_file": "reads or makes a file",
    "_pickle_save": "writes a pickle",
    "_pickle_load_obj": "unpickles",
    "open": "opens a file",
    "read_file": "reads a file",
    "write_file": "writes a file",
    "system": "runs a command",
    "rpc_sync": "calls another machine",
    "rpc_async": "calls another machine",
    "rpc_remote": "calls another machine",
    "PythonOp": "calls Python",
    "CallPython": "calls Python",
    "PyOp": "calls Python",
    "load_library": "loads native code",
    "__import__": "imports a Python module",
    "import": "imports a Python module",
    "eval": "runs a text as code",
    "exec": "runs a text as code",
}
_ROOTS = ("torch", "ops", "aten", "prim", "image", "torchaudio", "rpc", "os", "subprocess", "builtins")
_PYTHON = ("import", "__import__", "eval", "exec", "open")
_METHODS = ("save", "from_file")  # operators that any value can be asked for as a method
_OPERATORS = ("aten", "prim", "prims", "quantized", "torchvision", "inductor", "higher_order", "_operator", "math")
_NATIVE = ((b"\x7fELF", "an ELF library"), (b"MZ\x90", "a Windows library"), (b"\xcf\xfa\xed\xfe", "a native library"))


def remarks(members: Mapping[str, bytes], place: str, budget: Budget) -> Iterator[Remark] | None:
    """None where the members are not those of TorchScript or pt2. Pickles in it are left to who reads pickles."""
    del budget  # members are counted by who unpacks them, and sources are cut here
    found = recognise.archive(members.keys())
    return _remarks(members, found, place) if found and ("Script" in found.what or ".pt2" in found.what) else None


def _remarks(members: Mapping[str, bytes], found: recognise.Foreign, place: str) -> Iterator[Remark]:
    message = f"This is {found.what}. {found.remedy}"
    yield _remark("BD935", Severity.INFO, message, place)
    for name in members:
        inner = f"{place}/{name}" if place else name
        end = name.split("/", 1)[-1]
        if end.startswith("code/") and end.endswith(".py"):
            yield from source_remarks(members[name][: _MOST_SOURCE + 1], inner)
        elif end.endswith(".json"):
            yield from _table_remarks(members[name][: _MOST_SOURCE + 1], inner)
        elif end.startswith("extra/"):
            text = members[name][:_MOST_SOURCE].decode("utf-8", "replace")
            yield from sayings.remarks(text, "BD936", "extra file", inner)
        yield from _native(end, members, name, inner)


def source_remarks(source: bytes, place: str) -> Iterator[Remark]:
    """What TorchScript source reaches for outside the network, once for each name."""
    if len(source) > _MOST_SOURCE:
        yield _remark("BD936", Severity.MEDIUM, "This source is longer than any network's, and was not read.", place)
        return
    seen, told = set[str](), 0
    text = source.decode("utf-8", "replace")
    for found in _LEXEME.finditer(text):
        word = found["word"] or (_CUT if found.lastgroup else None)
        if word is None:
            continue
        before = text[max(0, found.start() - 200) : found.start()].rstrip(" \t\r\n\\")
        if before.endswith(".") or (not before and found.start() > 200):
            word = f".{word}"  # a method of what stands before
        if word in seen:
            continue
        seen.add(word)
        grave = _judged(word, text[found.end() : found.end() + 80])
        if grave and told < _MOST_TOLD:
            told += 1
            line = text.count("\n", 0, found.start()) + 1
            yield _remark("BD936", grave[0], f"The source {grave[1]}.", f"{place}, line {line}")


def _judged(word: str, rest: str) -> tuple[Severity, str] | None:
    """How grave it is that the source uses a name, and in what words; `rest` is what follows."""
    root, last = word.split(".", 1)[0], word.rsplit(".", 1)[-1]
    called = rest.lstrip().startswith("(")
    if word == _CUT:
        return Severity.MEDIUM, "holds a text without an end, behind which anything may stand"
    if word.startswith("^"):
        return Severity.HIGH, f"calls the Python function {shown(word[1:])}"
    if last in _OUTSIDE and called and "." in word and (root in _ROOTS or last in _METHODS):
        return Severity.HIGH, f"calls {shown(word)}, which {_OUTSIDE[last]}"
    if word in _PYTHON and (called or word == "import"):
        known = word == "import" and re.match(r"\s+(__torch__|torch)\b", rest)
        return None if known else (Severity.HIGH, f"uses {word}, which {_OUTSIDE[word]}")
    if root == "ops" and word.count(".") >= 2 and word.split(".")[1] not in _OPERATORS:
        return Severity.MEDIUM, f"calls {shown(word)}, whose code is elsewhere"
    if word.startswith("__torch__.torch.classes."):
        return Severity.MEDIUM, f"uses {shown(word)}, a class of native code"
    return None


def _table_remarks(table: bytes, place: str) -> Iterator[Remark]:
    """What the JSON of a .pt2 has torch.export.load do: unpickle weights or constants, call operators by name."""
    try:
        if len(table) > _MOST_SOURCE:
            raise ValueError("it is longer than any network's")
        content = json.loads(table)
    except (ValueError, RecursionError) as error:
        yield _remark("BD936", Severity.MEDIUM, f"This table cannot be read ({shown(str(error))}).", place)
        return
    targets = set[str]()
    for key, value in _pairs(content):
        if key == "use_pickle" and value is True:
            message = "The table has torch.export.load unpickle a tensor without any check."
            yield _remark("BD937", Severity.HIGH, message, place)
        elif key == "path_name" and isinstance(value, str) and re.search(r"opaque|custom_obj|\.\.|^/|\\|:", value):
            severity = Severity.HIGH if not value.startswith("custom_obj") else Severity.MEDIUM
            message = f"The table names {shown(value)}, which torch.export.load unpickles or looks for elsewhere."
            yield _remark("BD937", severity, message, place)
        elif key == "target" and isinstance(value, str) and value.startswith("torch.ops."):
            targets.add(value)
    for target in sorted(targets):
        yield from _target_remarks(target, place)


def _target_remarks(target: str, place: str) -> Iterator[Remark]:
    _, _, library, name, *_ = [*target.split("."), "", ""]
    if name in _OUTSIDE:
        yield _remark("BD936", Severity.HIGH, f"The graph calls {shown(target)}, which {_OUTSIDE[name]}.", place)
    elif library not in _OPERATORS:
        yield _remark("BD936", Severity.MEDIUM, f"The graph calls {shown(target)}, whose code is elsewhere.", place)


def _pairs(content: Any) -> Iterator[tuple[str, Any]]:
    """All keys of all tables within tables."""
    waiting = [content]
    while waiting:
        at = waiting.pop()
        if isinstance(at, dict):
            yield from at.items()
            waiting.extend(at.values())
        elif isinstance(at, list):
            waiting.extend(at)


def _native(end: str, members: Mapping[str, bytes], name: str, place: str) -> Iterator[Remark]:
    weights = re.match(r"(\.?data|constants|tensors|xl_model_weights)/", end)
    if weights and not re.search(r"\.(so|o|dll|cubin)$|aot", end):
        return  # raw weights may look like anything, and nothing ever runs them
    head = members[name][:4]
    what = next((what for magic, what in _NATIVE if head.startswith(magic)), "")
    if what or re.search(r"\.(so|o|dll|dylib|cubin)(\.\d+)*$", end):
        message = f"The archive carries native code ({what or 'by its name'}), which loading it runs."
        yield _remark("BD937", Severity.HIGH, message, place)


def _remark(rule: str, severity: Severity, message: str, place: str) -> Remark:
    return Remark(rule=rule, severity=severity, confidence=Confidence.HIGH, message=message, place=place)
