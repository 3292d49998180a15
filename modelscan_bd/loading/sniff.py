"""Which of the formats that are read a file has, by its content. Names and extensions are not asked."""

from __future__ import annotations

from enum import Enum

from modelscan_bd.audit import recognise
from modelscan_bd.errors import UnreadableModel


class Kind(Enum):
    """The formats that are read. `ZIP` still has to be told apart by its members."""

    ZIP = "zip archive"
    PICKLE = "pickle"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


def kind_of(name: str, data: bytes) -> Kind:
    """The format of a file's bytes.

    Raises UnsupportedModel for what bdscan recognises and does not read, UnreadableModel for what nobody knows. `name`
    is only for the sentence.
    """
    foreign = recognise.foreign(data)
    if foreign:
        raise foreign.error(name)
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Kind.ZIP
    if recognise.is_safetensors(data):
        return Kind.SAFETENSORS
    if data[0] == 0x80 and len(data) > 1 and data[1] <= 5:
        return Kind.PICKLE
    if recognise.is_onnx(data):
        return Kind.ONNX
    if recognise.is_cut_onnx(data):
        raise UnreadableModel(f"{name} is an ONNX file that is cut short", remedy="Download or export it again.")
    if _looks_like_old_pickle(data):
        return Kind.PICKLE
    text = recognise.text(data)
    if text:
        raise text.error(name)
    raise UnreadableModel(
        f"{name} is no model format that bdscan knows",
        remedy="bdscan reads ONNX, safetensors and PyTorch files; was the download complete?",
    )


def _looks_like_old_pickle(data: bytes) -> bool:
    """Protocols 0 and 1 have no magic: an opcode that starts an object, and a STOP somewhere near the end."""
    return (data[0] in b"c(]}li" and b"." in data[-64:] and not recognise.is_text(data[:1])) or (
        data[0] in b"c(" and data.rstrip().endswith(b".") and b"\n" in data[:256]
    )
