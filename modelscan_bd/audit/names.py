"""What a name is to whoever imports it, by the list in `rules/pickled_names.csv`. What is not listed is denied.

Audit and loader go by the same list. Its third column is the loader's: what bdscan has torch rebuild.
"""

from __future__ import annotations

import csv
import functools
import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import final

_LIST = "pickled_names.csv"
LONGEST = 300  # characters: no library has longer names, and they would cost time


class Grade(StrEnum):
    """What a pickle may do with a name; anything else is remarked upon."""

    CALL = "call"  # call it with values that are no names
    BYTES = "bytes"  # call it with bytes and text alone: with a number it would only take memory
    SPARSE = "sparse"  # call it; but torch does not check the result
    REBUILD = "rebuild"  # call it with another such function
    STREAM = "stream"  # call it with bytes that are a torch file
    PARTIAL = "partial"  # bind keywords to a network class
    CLASS = "class"  # construct what its first argument names
    ARRAY = "array"  # construct it; the array's bytes follow in the stream
    NAME = "name"  # mention it, as types and constants are
    LAYER = "layer"  # construct it empty and give it a state, as pickled networks do
    PLAIN = "plain"  # ordinary Python beside the weights: do as it likes
    CODE = "code"  # nothing: it runs code, or reaches out of the file
    UNKNOWN = "unknown"


class Rebuilt(StrEnum):
    """Whether torch's restricted unpickler is to rebuild what has a name."""

    KNOWN = "known"  # yes, as it would by itself
    TOLD = "told"  # yes, once it is told to
    NOT = ""


@final
@dataclass(frozen=True)
class Entry:
    """What the list says of a name."""

    grade: Grade
    rebuilt: Rebuilt = Rebuilt.NOT


def modern(module: str, name: str) -> tuple[str, str]:
    """The name in Python 3 of what protocol 2 wrote under its name in Python 2."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[(module, name)]
    return IMPORT_MAPPING.get(module, module), name


def grade(full: str) -> Grade:
    return entry(full).grade


@functools.lru_cache(maxsize=4096)
def entry(full: str) -> Entry:
    """The first entry of the list that fits. A class of a library begins with a capital."""
    if len(full) > LONGEST:
        return Entry(Grade.UNKNOWN)
    last = full.rpartition(".")[2].lstrip("_")
    exact, patterns = _entries()
    if full in exact:
        return exact[full]
    for pattern, given in patterns:
        if pattern.fullmatch(full) and (given.grade is Grade.CODE or last[:1].isupper()):
            return given
    # a default for the standard library: what is not allowed there reaches files, processes or the interpreter
    return Entry(Grade.CODE if full.partition(".")[0] in _STANDARD else Grade.UNKNOWN)


def reaches(full: str) -> bool:
    """Whether a name that walks through objects (`torch.serialization.os.system`) comes by something dangerous."""
    parts = full[:LONGEST].split(".")
    return any(grade(".".join(parts[start:])) is Grade.CODE for start in range(len(parts)))


@functools.cache
def _entries() -> tuple[dict[str, Entry], list[tuple[re.Pattern[str], Entry]]]:
    lines = (files("modelscan_bd.rules") / _LIST).read_text(encoding="utf-8").splitlines()
    rows = [(row["name"], Entry(Grade(row["grade"]), Rebuilt(row["rebuilt"] or ""))) for row in csv.DictReader(lines)]
    exact = {name: given for name, given in rows if "*" not in name}
    return exact, [(_pattern(name), given) for name, given in rows if "*" in name]


def _pattern(name: str) -> re.Pattern[str]:
    """`*` is any part of one identifier, `**` any identifiers joined by dots."""
    text = re.escape(name).replace(r"\*\*", r"\w+(\.\w+)*").replace(r"\*", r"\w*")
    return re.compile(text, re.ASCII)


_STANDARD = sys.stdlib_module_names | {
    *sys.builtin_module_names,
    *("asynchat", "asyncore", "cgi", "commands", "distutils", "imp"),  # of Python before 3.12, and of 2
    *("lib2to3", "pipes", "popen2", "smtpd", "telnetlib"),
}
