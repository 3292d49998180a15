"""What a file is, by its content. Names and extensions are not asked."""

from __future__ import annotations

from enum import Enum

from modelscan_bd.errors import UnreadableModel, UnsupportedModel

_EXPORT = "Export the network to ONNX, or save its state_dict as safetensors."


class Kind(Enum):
    """The formats that are read. `ZIP` still has to be told apart by its members."""

    ZIP = "zip archive"
    PICKLE = "pickle"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "a Keras or other HDF5 file"),
    (0, b"GGUF", "a GGUF file, which holds a language model"),
    (4, b"TFL3", "a TensorFlow Lite file"),
    (4, b"ET12", "an ExecuTorch file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\x7fELF", "a native program or library"),
    (0, b"MZ", "a Windows program or library"),
)
_NOT_A_MODEL: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a RIFF (WebP, WAV, AVI) file"),
    (b"%PDF", "a PDF document"),
)


def kind_of(name: str, data: bytes) -> Kind:
    """The format of a file's bytes.

    Raises UnsupportedModel for model formats that bdscan recognises and does not read, UnreadableModel for anything
    else. `name` is only for the sentence.
    """
    for offset, magic, what in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            raise UnsupportedModel(f"{name} is {what}, which bdscan does not read", remedy=_EXPORT)
    for magic, what in _NOT_A_MODEL:
        if data.startswith(magic):
            raise UnreadableModel(f"{name} is {what}, not a model")
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Kind.ZIP
    # a safetensors header's length has four zero bytes in the end, which a pickle at this place has not
    if data[8:9] == b"{" and (data[4:8] == bytes(4) or data[0] != 0x80):
        return Kind.SAFETENSORS
    return _by_structure(name, data)


def _by_structure(name: str, data: bytes) -> Kind:
    if data[0] == 0x80 and len(data) > 1 and data[1] <= 5:
        return Kind.PICKLE
    fields = _protobuf_fields(data)
    if {7, 8} <= fields and fields <= {*range(1, 9), 14, 20, 25, 26}:
        return Kind.ONNX
    if fields == {1, 2}:
        raise UnsupportedModel(f"{name} looks like a TensorFlow SavedModel, which bdscan does not read", remedy=_EXPORT)
    if _looks_like_old_pickle(data):
        return Kind.PICKLE
    what = "a text file" if _is_text(data[:4096]) else "no model format that bdscan knows"
    raise UnreadableModel(
        f"{name} is {what}", remedy="bdscan reads ONNX, safetensors and PyTorch files; was the download complete?"
    )


def _protobuf_fields(data: bytes) -> frozenset[int]:
    """The numbers of a protobuf message's outermost fields, empty where the bytes are no such message."""
    position, seen = 0, set[int]()
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == 0:
            _, position = _varint(data, position)
        elif wire == 2:
            length, position = _varint(data, position)
            position += length
        else:
            return frozenset()
        if tag >> 3 == 0 or tag >> 3 > 30 or position > len(data):
            return frozenset()
        seen.add(tag >> 3)
    return frozenset(seen)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, len(data) + 1


def _looks_like_old_pickle(data: bytes) -> bool:
    """Protocols 0 and 1 have no magic: an opcode that starts an object, and a STOP somewhere near the end."""
    return (data[0] in b"c(]}li" and b"." in data[-64:] and not _is_text(data[:1])) or (
        data[0] in b"c(" and data.rstrip().endswith(b".") and b"\n" in data[:256]
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
