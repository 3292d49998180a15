"""What the tensors of an ONNX model claim, against the bytes that are there; and bytes that are no numbers at all."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import TensorProto

from modelscan_bd.audit.fault import Fault
from modelscan_bd.audit.onnx_walk import scopes, tensors
from modelscan_bd.audit.texts import shown
from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.grades import Confidence, Severity

_MOST_ELEMENTS = 2**31
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_NARROW = frozenset(
    getattr(TensorProto, name, -1) for name in ("UINT4", "INT4", "FLOAT4E2M1", "UINT2", "INT2")
)  # several to a byte
_HEADS = (
    (b"\x7fELF", "a native program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xcf\xfa\xed\xfe", "a native program"),
    (b"#!/", "a script"),
)


def size_faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """Tensors that claim another number of elements than they hold. Those kept outside the file are not looked at."""
    for place, tensor in tensors(model):
        if is_external(tensor):
            continue
        wrong = _wrong_size(tensor)
        if wrong:
            what = f"{name}: tensor '{shown(tensor.name)}' {wrong}"
            yield Fault(rule="BD921", severity=Severity.HIGH, error=UnreadableModel(what), place=place)


def sparse_faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    for scope in scopes(model):
        if isinstance(scope.graph, onnx.GraphProto) and scope.graph.sparse_initializer:
            error = UnsupportedModel(
                f"{name} holds sparse tensors, which bdscan does not read", remedy="Export it dense."
            )
            yield Fault(rule="BD925", severity=Severity.LOW, error=error, place=scope.place)


def content_faults(model: onnx.ModelProto, name: str) -> Iterator[Fault]:
    """Tensors whose bytes are a program, a script, an archive or a pickle."""
    for place, tensor in tensors(model):
        for data in (tensor.raw_data, *tensor.string_data[:64]):
            what = _looks_like(data)
            if what:
                error = UnreadableModel(f"{name}: the bytes of tensor '{shown(tensor.name)}' are {what}")
                yield Fault(
                    rule="BD927", severity=Severity.HIGH, error=error, place=place, confidence=Confidence.MEDIUM
                )


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def needed(tensor: TensorProto) -> int | None:
    """The bytes that shape and type ask for; None for an unknown type or a negative length."""
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        return None
    return math.prod(tensor.dims) * kind.itemsize if all(n >= 0 for n in tensor.dims) else None


def _wrong_size(tensor: TensorProto) -> str:
    count = math.prod(tensor.dims)
    held = {field: len(getattr(tensor, field)) for field in _FIELDS}
    if any(n < 0 for n in tensor.dims) or count > _MOST_ELEMENTS or len(tensor.dims) > 64:
        return f"claims {_short(count)} numbers and does not hold them"
    if tensor.HasField("raw_data"):
        fits = _raw_fits(tensor, count) and not any(held.values())
        return "" if fits else f"claims {_short(count)} numbers and holds others"
    if count > 2 * max(held.values()):  # two four-bit numbers lie in one entry
        return f"claims {_short(count)} numbers and does not hold them"
    extra = sum(held.values()) > max(2 * count, 1)  # a complex number takes two entries
    return f"claims {_short(count)} numbers and holds {sum(held.values())}" if extra else ""


def _raw_fits(tensor: TensorProto, count: int) -> bool:
    size = needed(tensor)
    if size is None:
        return False
    packed = tensor.data_type in _NARROW and len(tensor.raw_data) in {-(-count // 2), -(-count // 4)}
    return len(tensor.raw_data) == size or packed


def _short(count: int) -> str:
    return str(count) if abs(count) < 2**63 else "more than 2^63"


def _looks_like(data: bytes) -> str:
    if data[:1] == b"\x80" and b"\x02" <= data[1:2] <= b"\x05":
        pickle = data.endswith(b".") and data[2:3] in (b"c", b"(", b"]", b"}", b"\x95")
        return "a pickle" if pickle and len(data) > 8 and b"\n" in data[:200] else ""
    if data.startswith(b"MZ"):
        at = int.from_bytes(data[60:64], "little")
        return "a Windows program" if data[at : at + 4] == b"PE\0\0" else ""
    return next((what for magic, what in _HEADS if data.startswith(magic)), "")
