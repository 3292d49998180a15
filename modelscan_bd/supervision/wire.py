"""Nouns as JSON, and back by their types. Whatever does not fit its type is a ValueError."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

Json: TypeAlias = Any

_NAME = "is"  # the key of a dataclass's name
_PLAIN = (str, int, bool)
_LONGEST_SIDE = 4096  # pixels of a picture


def packed(value: object) -> Json:
    """Dataclasses, mappings, tuples, paths, enums, pictures and plain values."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: packed(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [packed(each) for each in value]
    if is_dataclass(value):
        return {_NAME: type(value).__name__} | {f.name: packed(getattr(value, f.name)) for f in fields(value) if f.init}
    return _packed_picture(value)


def unpacked(data: Json, kind: Any) -> Any:
    """The value of type `kind` that `packed` made `data` of. Raises ValueError for anything else."""
    origin = get_origin(kind)
    if origin is UnionType:
        return unpacked(data, _member(data, get_args(kind)))
    if origin is tuple:
        return _tuple(data, get_args(kind))
    if origin is Mapping:
        return {key: unpacked(each, get_args(kind)[1]) for key, each in _must(data, dict).items()}
    if kind is Any:
        return _picture(data)
    if origin is Literal:
        return get_args(kind)[get_args(kind).index(data)]  # a ValueError where it is none of them
    if kind is NoneType:
        return _must(data, NoneType)
    if kind is float:
        return float(data) if type(data) is int else _must(data, float)
    if kind in _PLAIN:
        return _must(data, kind)
    if issubclass(kind, (Enum, Path)):
        return kind(_must(data, str))
    return _dataclass(data, kind)


def _member(data: Json, kinds: tuple[Any, ...]) -> Any:
    """Which of several types is meant: by name where they are dataclasses, else the one that is not None."""
    if data is None and NoneType in kinds:
        return NoneType
    named = {kind.__name__: kind for kind in kinds if is_dataclass(kind) and isinstance(kind, type)}
    if isinstance(data, dict) and data.get(_NAME) in named:
        return named[data[_NAME]]
    rest = [kind for kind in kinds if kind is not NoneType and not is_dataclass(kind)]
    if len(rest) != 1:
        raise ValueError(f"none of {', '.join(named)} was said")
    return rest[0]


def _tuple(data: Json, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    items = _must(data, list)
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(items)
    return tuple(unpacked(each, kind) for each, kind in zip(items, kinds, strict=True))


def _dataclass(data: Json, kind: Any) -> Any:
    said, hints = dict(_must(data, dict)), get_type_hints(kind)
    known = [f.name for f in fields(kind) if f.init]
    if said.pop(_NAME, None) != kind.__name__ or said.keys() != set(known):
        raise ValueError(f"this is no {kind.__name__}")
    return kind(**{name: unpacked(said[name], hints[name]) for name in known})


def _must(data: Json, kind: type[Any]) -> Any:
    if type(data) is not kind:
        raise ValueError(f"a {kind.__name__} was expected, not a {type(data).__name__}")
    return data


def _packed_picture(picture: object) -> Json:
    import numpy as np  # who waits may never see a picture, and need not pay for this

    if np.ndim(picture) == 0:  # type: ignore[arg-type]
        return np.asarray(picture).item()  # a number, which numpy and torch have kinds of their own for
    pixels = np.asarray(picture, dtype="<f4")
    return {"shape": list(pixels.shape), "pixels": base64.b64encode(pixels.tobytes()).decode("ascii")}


def _picture(data: Json) -> Any:
    import numpy as np

    shape, pixels = (_must(data, dict).get(key) for key in ("shape", "pixels"))
    sides = unpacked(shape, tuple[int, int, int])
    if not all(0 < side <= _LONGEST_SIDE for side in sides):
        raise ValueError(f"no picture is of the shape {sides}")
    return np.frombuffer(base64.b64decode(_must(pixels, str), validate=True), dtype="<f4").reshape(sides)
