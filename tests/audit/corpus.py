"""Files for the audit of pickles and archives, made in code. A payload touches a canary, if anything ever runs it.

Each function gives contents by name. Malicious ones run code or change the model, hostile ones break readers, benign
ones are what people save.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

Files = dict[str, bytes]

# ---------------------------------------------------------------- opcodes


def word(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def group(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def named(full: str) -> bytes:
    module, _, name = full.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def stacked(module: str, name: str) -> bytes:
    return word(module) + word(name) + b"\x93"


def call(function: str | bytes, *args: bytes) -> bytes:
    return (named(function) if isinstance(function, str) else function) + group(*args) + b"R"


def stream(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def state_of(layer: str, **attributes: bytes) -> bytes:
    """A network class that is constructed empty and given a state."""
    pairs = b"".join(word(key) + value for key, value in attributes.items())
    return named(layer) + b")\x81}(" + pairs + b"ub"


def tensor(*, elements: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    storage = group(word("storage"), named("torch.FloatStorage"), word("0"), word("cpu"), number(elements)) + b"Q"
    hooks = call("collections.OrderedDict")
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage,
        number(offset),
        group(*map(number, size)),
        group(*map(number, stride)),
        b"\x89",
        hooks,
    )


_SIX = tensor(elements=6, size=(2, 3), stride=(3, 1))

# ---------------------------------------------------------------- containers

LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"  # how the two headers of a zip's member begin


def archive(members: Files, *, deflate: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED)
    return out.getvalue()


def torch_zip(pickled: bytes, *, deflate: bool = False, **more: bytes) -> bytes:
    """What torch.save writes, around any pickle. `more` are further members, `__` standing for a slash."""
    extra = {f"archive/{name.replace('__', '/')}": content for name, content in more.items()}
    members = {"archive/data.pkl": pickled, "archive/version": b"3\n", "archive/byteorder": b"little", **extra}
    return archive(members, deflate=deflate)


def twice(first: bytes, last: bytes) -> bytes:
    """Two members of one name."""
    forged = archive({"archive/data.pkl": first, "archive/data.pk_": last, "archive/version": b"3\n"})
    return forged.replace(b"data.pk_", b"data.pkl")


def legacy(system: bytes, content: bytes, keys: bytes, tail: bytes = b"") -> bytes:
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    return head + system + content + keys + tail


def tarred(members: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def object_array(pickled: bytes) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickled


def joblib_array(numbers: bytes, rest: bytes = b"") -> bytes:
    """joblib's stream: a wrapper's state, a byte of padding, the numbers, and what follows."""
    dtype = call("numpy.dtype", word("f8"), b"\x89", b"\x88")
    fields = {
        "shape": group(number(len(numbers) // 8)),
        "order": word("C"),
        "dtype": dtype,
        "allow_mmap": b"\x88",
        "numpy_array_alignment_bytes": number(16),
    }
    body = state_of("joblib.numpy_pickle.NumpyArrayWrapper", **fields)
    return b"\x80\x02" + body + b"\x03\xff\xff\xff" + numbers + rest + b"."


def patched(data: bytes, signature: bytes, offset: int, value: bytes, which: int = 0) -> bytes:
    """A zip with bytes replaced in the `which`-th record that begins with `signature`."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]


# ---------------------------------------------------------------- malicious: all that runs code or changes the model


def pickles(canary: Path) -> Files:
    """One call after another, each in what torch.save writes; then one call in the ways a pickle can put it."""
    touch = word(f"touch {canary}")
    code = word(f"open({str(canary)!r}, 'w').close()")
    calls = {name: torch_zip(stream(body)) for name, body in _calls(touch, code, canary).items()}
    return {**calls, **_forms(touch, call("os.system", touch)), **_layers()}


def archives(canary: Path) -> Files:
    system = call("os.system", word(f"touch {canary}"))
    return _containers(stream(system), stream(b"}"), system)


def _calls(touch: bytes, code: bytes, canary: Path) -> Files:
    path = word(str(canary))
    return {
        "os.system": call("os.system", touch),
        "posix.system": call("posix.system", touch),
        "nt.system": call("nt.system", touch),
        "eval": call("builtins.eval", code),
        "exec": call("builtins.exec", code),
        "Python 2 eval": call("__builtin__.eval", code),
        "Python 2 commands": call("commands.getoutput", touch),
        "Popen": call("subprocess.Popen", b"]" + word("touch") + b"a" + path + b"a"),
        "runpy": call("runpy.run_path", path),
        "importlib": call("importlib.import_module", word("antigravity")),
        "ctypes": call("ctypes.CDLL", path),
        "pip": call("pip.main", b"]" + word("install") + b"a"),
        "pty": call("pty.spawn", touch),
        "webbrowser": call("webbrowser.open", path),
        "getattr chain": call(
            call("builtins.getattr", call("importlib.import_module", word("os")), word("system")), touch
        ),
        "methodcaller": call(
            call("operator.methodcaller", word("system"), touch), call("builtins.__import__", word("os"))
        ),
        "partial": call(call("functools.partial", named("os.system"), touch)),
        "map": call("builtins.list", call("builtins.map", named("os.system"), b"]" + touch + b"a")),
        "numpy runstring": call("numpy.testing._private.utils.runstring", code, b"}"),
        "f2py getlincoef": call("numpy.f2py.crackfortran.getlincoef", code, b"}"),
        "timeit": call("timeit.timeit", code),
        "cProfile": call("cProfile.run", code),
        "torch execWrapper": call("torch.jit.unsupported_tensor_ops.execWrapper", code, b"}", b"}"),
        "dynamo guards": call("torch._dynamo.guards.GuardBuilder", code),
        "fx GraphModule source": call("torch.fx.graph_module.reduce_graph_module", b"}", code),
        "jit annotations": call("torch.jit.annotations.parse_type_line", code, b"N", b"N"),
        "ops load_library": call("torch.ops.load_library", path),
        "cpp_extension": call("torch.utils.cpp_extension.load_inline", word("x"), code),
        "torch.save": call("torch.save", b"}", path),
        "numpy.save": call("numpy.save", path, b"]"),
        "linecache": call("linecache.getlines", path),
        "joblib.load": call("joblib.load", path),
        "dill.loads": call("dill.loads", b"C\x01."),
        "torch.hub": call("torch.hub._load_local", path, word("x")),
        "torch.load": call("torch.load", path),
        "an unknown function": call("somebodys.library.helper", touch),
        "a call bound to a tensor type": call(
            "torch._tensor._rebuild_from_type_v2", named("os.system"), named("torch.Tensor"), group(touch), b"}"
        ),
        "a learning rate that is a function": call("torch.optim.lr_scheduler.LambdaLR", b"N", named("os.system")),
        "a name that is only imported": named("os.system"),
        "a file inside the pickle": call(
            "torch.storage._load_from_bytes", _bytes(torch_zip(stream(call("os.system", touch))))
        ),
        "a codec": call("_codecs.encode", code, word("zlib_codec")),
        "memory": call("builtins.bytearray", number(2**36)),
        "memory by a storage": call("torch.storage.UntypedStorage", number(2**36)),
        "a layer that is called": call("torch.nn.modules.linear.Linear", number(2**20), number(2**20)),
    }


def _bytes(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def _forms(touch: bytes, system: bytes) -> Files:
    """One payload, in the ways a pickle can put it."""
    os, run = b"\x8c\x02os", b"\x8c\x06system"
    plain = touch[5:]
    return {
        "dotted STACK_GLOBAL in torch": stream(call(stacked("torch.serialization", "os.system"), touch), 4),
        "dotted STACK_GLOBAL in torch.nn": stream(
            call(stacked("torch.nn.modules.module", "torch._sys.exit"), touch), 4
        ),
        "dotted STACK_GLOBAL in collections": stream(call(stacked("collections", "_sys.modules.get"), word("os")), 4),
        "dotted pathlib touch": stream(call(stacked("pathlib", "Path.touch"), touch), 4),
        "names from the memo": stream(run + b"\x940" + os + b"q\x050h\x05h\x00\x93" + group(touch) + b"R", 4),
        "a computed name": stream(word("os") + call("collections.OrderedDict") + b"\x93" + group(touch) + b"R", 4),
        "EXT1": stream(b"\x82\x01" + group(touch) + b"R"),
        "INST": b"(" + b"S'" + plain + b"'\n" + b"ios\nsystem\n.",
        "INST cut off before its line ends": b"(S'" + plain + b"'\nios\nsystem.",
        "OBJ": stream(b"(" + named("os.system") + touch + b"o"),
        "NEWOBJ": stream(named("subprocess.Popen") + group(touch) + b"\x81"),
        "NEWOBJ_EX": stream(named("subprocess.Popen") + group(touch) + b"}\x92", 4),
        "protocol 0, an unknown function and no end": b"csomebodys.library\nhelper\n(S'x'\ntR",
        "protocol 0": b"cos\nsystem\n(S'" + plain + b"'\ntR.",
        "a number that pickletools refuses": b"I0x10\n0cos\nsystem\n(S'" + plain + b"'\ntR.",
        "a name that is not ASCII first": b"]0V\\u00e4\n0cos\nsystem\n(S'" + plain + b"'\ntR.",
        "BUILD with nothing on a number": b"I1\nNb0cos\nsystem\n(S'" + plain + b"'\ntR.",
        "BUILD on a class": stream(
            named("torch.nn.modules.linear.Linear") + b"N}" + word("forward") + touch + b"s\x86b"
        ),
        "SETITEM on a module": stream(named("os.environ") + word("PATH") + touch + b"s"),
        "then an unknown opcode": stream(system + b"\xff"),
        "then no end": b"\x80\x02" + system,
        "then cut off": b"\x80\x02" + system + b"X\xff\xff\x00\x00ab",
        "popped at once": stream(system + b"0N"),
        "after the end": stream(b"}") + stream(system),
        "after many pickles": stream(b"N") * 50 + stream(system),
        "in a short frame": b"\x80\x04\x95\x02\0\0\0\0\0\0\0" + system + b".",
        "behind a GGUF mark": b"GGUF\x03\0\0\0\x00" + b"cos\nsystem\n(S'" + plain + b"'\ntR.",
        "as a set's element": stream(b"\x8f(" + system + b"\x90", 4),
        "as a dictionary's key": stream(b"}" + system + b"Ns"),
    }


def _containers(shell: bytes, innocent: bytes, system: bytes) -> Files:
    """One payload, in all that can hold it."""
    keys = stream(b"]")
    plain = torch_zip(shell)
    lost = archive({"archive/data.pkl": innocent, "archive/lost.pkl": shell})
    central = lost.rindex(CENTRAL)
    end = lost.rindex(b"PK\x05\x06")
    count, size = struct.pack("<HH", 1, 1), struct.pack("<L", central - lost.index(CENTRAL))
    unlisted = lost[:central] + lost[end : end + 8] + count + size + lost[end + 16 :]
    return {
        "zip, deflated": torch_zip(shell, deflate=True),
        "zip, the first of two data.pkl": twice(shell, innocent),
        "zip, the last of two data.pkl": twice(innocent, shell),
        "zip, wrong checksum": patched(patched(plain, LOCAL, 14, b"abcd"), CENTRAL, 16, b"abcd"),
        "zip, flag 0x1": patched(patched(plain, LOCAL, 6, b"\x01"), CENTRAL, 8, b"\x01"),
        "zip, flag 0x20": patched(plain, CENTRAL, 8, b"\x20"),
        "zip, flag 0x40": patched(plain, CENTRAL, 8, b"\x40"),
        "zip, another name in the header": patched(plain, LOCAL, 30, b"archive/data.xyz"),
        "zip, another name in the directory": patched(plain, CENTRAL, 46, b"archive/data/0.z"),
        "zip, another method in the directory": patched(plain, CENTRAL, 10, b"\x08"),
        "zip, a member without a line in the directory": unlisted,
        "zip, a directory cut off": plain[: plain.index(CENTRAL)],
        "zip, behind a pickle": shell + torch_zip(innocent),
        "zip, behind words": b"#!/bin/sh\n" + plain,
        "zip, in front of a pickle": torch_zip(innocent) + shell,
        "zip, a second one behind": torch_zip(innocent) + plain,
        "zip, as another member": torch_zip(innocent, extra__notes=shell),
        "zip, constants.pkl": archive({"archive/data.pkl": innocent, "archive/constants.pkl": shell}),
        "zip in zip": archive({"inner.pt": plain}),
        "zip in zip, deflated, twice": archive({"b.zip": archive({"a.pt": plain}, deflate=True)}, deflate=True),
        "pt2": archive({"m/archive_format": b"pt2", "m/data/sample_inputs/model.pt": plain}),
        "traversal in a benign file": archive({"archive/data.pkl": innocent, "archive/../../evil.py": b"pass"}),
        "absolute name in a benign file": archive({"archive/data.pkl": innocent, "/etc/cron.d/x": b"* * * * *"}),
        "legacy, in the object": legacy(stream(b"}"), shell, keys),
        "legacy, in the system record": legacy(stream(b"}" + word("x") + system + b"s"), innocent, keys),
        "legacy, in the keys": legacy(stream(b"}"), innocent, shell),
        "legacy, behind the numbers": legacy(stream(b"}"), innocent, keys, shell),
        "tar": tarred({"sys_info": innocent, "pickle": shell, "storages": stream(b"K\0"), "tensors": stream(b"K\0")}),
        "tar, behind a storage's numbers": tarred({"storages": stream(b"K\x01") + bytes(64) + shell}),
        "tar.gz": gzip.compress(tarred({"model.pt": plain})),
        "gzip": gzip.compress(shell),
        "gzip, second stream": gzip.compress(innocent[:-1]) + gzip.compress(b"0" + system + b"."),
        "bzip2": bz2.compress(shell),
        "xz": lzma.compress(shell),
        "lzma": lzma.compress(shell, lzma.FORMAT_ALONE),
        "zlib, as joblib writes it": zlib.compress(shell),
        "joblib, behind an array": joblib_array(bytes(64), b"0" + system),
        "joblib, in the numbers of an array": joblib_array((shell * 8)[: len(shell) * 8]),
        "npy of objects": object_array(shell),
        "npz of objects": archive({"a.npy": object_array(shell)}),
    }  # fmt: skip


def _layers() -> Files:
    """Nothing runs while the file is loaded; the model is another one all the same."""
    linear, relu = "torch.nn.modules.linear.Linear", "torch.nn.modules.activation.ReLU"
    empty = call("collections.OrderedDict")
    inner = state_of(relu, training=b"\x89")
    hooked = empty + number(0) + inner + b"s"
    return {
        "forward is another module": torch_zip(stream(state_of(linear, training=b"\x89", forward=inner))),
        "forward is a function": torch_zip(stream(state_of(linear, forward=named("torch.nn.functional.relu")))),
        "a module as a hook": torch_zip(stream(state_of(linear, _forward_hooks=hooked))),
        "a hook before": torch_zip(stream(state_of(linear, _forward_pre_hooks=hooked))),
        "a tensor with hooks": torch_zip(
            stream(call("torch._utils._rebuild_parameter", b"N", b"\x88", empty + number(0) + inner + b"s"))
        ),
    }


# ---------------------------------------------------------------- hostile


def hostile() -> dict[str, Callable[[], bytes]]:
    """Made on demand: some are large."""
    weights = torch_zip(
        stream(b"}" + word("w") + tensor(elements=6, size=(2, 3), stride=(3, 1)) + b"s"), data__0=bytes(24)
    )
    generator = random.Random(0)
    return {
        "random bytes": lambda: generator.randbytes(4096),
        "truncated pickle": lambda: pickle.dumps({"a": list(range(1000))}, 4)[:700],
        "truncated zip": lambda: weights[: len(weights) // 2],
        "half a state dict": lambda: torch_zip(stream(b"}" + word("w"))[:-6], data__0=bytes(24)),
        "protocol 9": lambda: stream(b"}", 9),
        "a million POP and DUP": lambda: stream(b"N" + b"20" * 1_000_000),
        "many missing marks": lambda: stream(b"N" * 200_000 + b"1" * 200_000),
        "many marks": lambda: stream(b"(" * 300_000 + b"1" * 300_000 + b"1"),
        "deep tuples": lambda: stream(b")" + b"\x85" * 300_000),
        "deep calls": lambda: stream(named("collections.OrderedDict") + b")R" * 150_000),
        "a memo of 2^31": lambda: stream(b"Nr\xff\xff\xff\x7f"),
        "a string of 2^60 bytes": lambda: stream(b"\x8d" + struct.pack("<Q", 2**60), 4),
        "a negative length": lambda: stream(b"T\xff\xff\xff\xff"),
        "a frame over an opcode": lambda: b"\x80\x04\x95\x02\0\0\0\0\0\0\0" + word("abc") + b".",
        "a frame longer than the file": lambda: b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.",
        "a list that holds itself": lambda: stream(b"]q\x00h\x00ah\x00" + group(b"h\x00") + b"R"),
        "a dictionary without a value": lambda: stream(b"}(Nu"),
        "long names": lambda: stream(b"c" + b"a." * 300_000 + b"\n" + b"b" * 300_000 + b"\n"),
        "many long names": lambda: stream(b"".join(b"ca%d%s\nb\n0" % (i, b".c" * 100) for i in range(3000)) + b"N"),
        "a bomb of one literal": lambda: torch_zip(stream(_bytes(bytes(2 * 10**8))), deflate=True),
        "a bomb of opcodes": lambda: torch_zip(stream(b"N0" * 5_000_000), deflate=True),
        "a bomb of storages": lambda: archive({f"archive/data/{i}": bytes(2**26) for i in range(5)}, deflate=True),
        "a gzip bomb": lambda: gzip.compress(bytes(2 * 10**8), 1),
        "a bzip2 bomb": lambda: bz2.compress(bytes(14 * 10**7), 1),
        "twenty gzips": lambda: _wrapped(20),
        "21,000 members": lambda: archive({f"archive/{i}": b"" for i in range(21_000)}),
        "zips in zips": lambda: _nested(9),
        "a member that declares too little": lambda: _shrunk(torch_zip(stream(b"N" * 5000), deflate=True)),
        "overlapping members": lambda: _overlapping(),
        "a thousand end records": lambda: weights + b"PK\x05\x06" + (b"PK\x05\x06" + bytes(18)) * 1000,
        "21,000 headers without a directory": lambda: b"".join(b"PK\x03\x04" + bytes(26) for _ in range(21_000)),
        "a symbolic link": lambda: _linked(),
        "packed by an unknown method": lambda: patched(patched(weights, LOCAL, 8, b"c"), CENTRAL, 10, b"c"),
        "a member beyond the file": lambda: patched(weights, CENTRAL, 20, b"\xff\xff\xff\x0f"),
        "a tensor beyond its storage": lambda: _claims(elements=6, size=(200, 300), stride=(300, 1)),
        "a storage of another size": lambda: _claims(elements=600, size=(2, 3), stride=(3, 1)),
        "a storage repeated to 40 GB": lambda: _claims(elements=6, size=(10**5, 10**5), stride=(0, 0)),
        "a negative storage": lambda: _claims(elements=-6, size=(2, 3), stride=(3, 1)),
        "items into a tensor": lambda: torch_zip(stream(_SIX + number(0) + b"Ns")),
        "a storage by a strange id": lambda: stream(group(word("somewhere"), word("else")) + b"Q"),
        "legacy, numbers missing": lambda: legacy(stream(b"}"), stream(_SIX), stream(b"]" + word("0") + b"a")),
        "legacy, a tail": lambda: legacy(stream(b"}"), stream(b"}"), stream(b"]"), b"tail" * 30),
        "7z": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "zstd": lambda: b"\x28\xb5\x2f\xfd" + bytes(100),
        "damaged gzip": lambda: gzip.compress(b"x" * 1000)[:-20],
        "tar with a link out": lambda: _tar_of(tarfile.SYMTYPE, "a", "/etc/passwd"),
        "tar with a device": lambda: _tar_of(tarfile.CHRTYPE, "a", ""),
        "tar with a name that leaves": lambda: tarred({"../../x": b"pass"}),
        "damaged tar": lambda: tarred({"a": b"x" * 2000})[:1024],
        "an array of objects without a pickle": lambda: object_array(b"\x80\x04nonsense"),
    }  # fmt: skip


def _claims(*, elements: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    return torch_zip(stream(tensor(elements=elements, size=size, stride=stride)), data__0=bytes(24))


def _wrapped(times: int) -> bytes:
    content = stream(b"N")
    for _ in range(times):
        content = gzip.compress(content)
    return content


def _nested(times: int) -> bytes:
    content = stream(b"N")
    for index in range(times):
        content = archive({f"{index}.zip": content})
    return content


def _shrunk(data: bytes) -> bytes:
    small = struct.pack("<L", 10)
    return patched(patched(data, LOCAL, 22, small), CENTRAL, 24, small)


def _overlapping() -> bytes:
    data = archive({"archive/a": b"x" * 50, "archive/b": b"y" * 50})
    return patched(data, CENTRAL, 20, struct.pack("<LL", 120, 120))


def _linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        info = zipfile.ZipInfo("archive/data.pkl")
        info.external_attr = 0o120777 << 16
        file.writestr(info, b"/etc/passwd")
    return out.getvalue()


def _tar_of(kind: bytes, name: str, target: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        file.addfile(info)
    return out.getvalue()


# ---------------------------------------------------------------- benign, without torch


def plain() -> Files:
    """What NumPy and Python write. torch's own files are in `checkpoints`."""
    import numpy as np

    arrays = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.int64)}
    npy, npz, small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, arrays["w"])
    np.savez(npz, **arrays)
    np.savez_compressed(small, **arrays, zeros=np.zeros(10**6))
    state = np.random.default_rng(0).bit_generator.state
    return {
        "npy": npy.getvalue(),
        "npz": npz.getvalue(),
        "npz, compressed": small.getvalue(),
        "npy of objects": _objects(np.array([{"a": 1}, None], dtype=object)),
        **{f"pickled arrays, protocol {p}": pickle.dumps(arrays, p) for p in range(6)},
        **{f"pickled containers, protocol {p}": pickle.dumps(_containers_of_all_kinds(), p) for p in range(6)},
        "pickled random state": pickle.dumps({"python": random.Random(0).getstate(), "numpy": state}),
        "pickled generator": pickle.dumps(np.random.default_rng(0)),
        "pickled masked array": pickle.dumps(np.ma.masked_array([1.0, 2.0], mask=[True, False])),
        "joblib": joblib_array(np.arange(8.0).tobytes()),
        "joblib, zlib": zlib.compress(joblib_array(np.arange(8.0).tobytes())),
        "zip of arrays": archive({"a.npy": npy.getvalue(), "b/c.npz": npz.getvalue()}, deflate=True),
        "gzip of arrays": gzip.compress(npz.getvalue()),
        "tar of arrays": tarred({"a.npy": npy.getvalue()}),
    }


def _objects(array: object) -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.save(out, np.asarray(array), allow_pickle=True)
    return out.getvalue()


def _containers_of_all_kinds() -> dict[str, object]:
    import argparse
    import collections
    import datetime
    import pathlib

    return {
        "words": "résumé\n\x00" * 40,
        "bytes": b"\x80\x02cos\nsystem\n",
        "number": 10**40,
        "float": 1e-9,
        "tuple": (1, (2, (3,))),
        "set": {1, 2},
        "frozen": frozenset({1}),
        "bytearray": bytearray(b"abc"),
        "complex": 1j,
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "counter": collections.Counter("abca"),
        "deque": collections.deque([1], maxlen=3),
        "arguments": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/tmp/x")),
        "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "range": range(3),
        "type": dict,
    }


# ---------------------------------------------------------------- benign, by torch.save


def checkpoints() -> Files:
    import numpy as np
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    state = net.state_dict()
    full = _training(net)
    shared = torch.arange(12.0)
    transformer = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, activation="gelu"), 1)
    return {
        "state dict": saved(state),
        "state dict, legacy": saved(state, _use_new_zipfile_serialization=False),
        **{f"state dict, protocol {p}": saved(state, pickle_protocol=p) for p in (3, 4, 5)},
        "state dict, deflated": _repacked(saved(state)),
        "state dict, pickled": pickle.dumps(state),
        "state dict, in a zip": archive({"model.pt": saved(state), "README.md": b"# A model\n"}, deflate=True),
        "state dict, gzip": gzip.compress(saved(state)),
        "whole network": saved(net),
        "whole network, legacy": saved(net, _use_new_zipfile_serialization=False),
        "whole transformer": saved(transformer),
        "whole attention": saved(nn.MultiheadAttention(8, 2)),
        "whole recurrent": saved(nn.LSTM(4, 4)),
        "training": saved(full),
        "training, legacy": saved(full, _use_new_zipfile_serialization=False),
        "all types": saved({str(kind): torch.zeros(3, dtype=kind) for kind in _dtypes(torch)}),
        "quantised": saved(torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)),
        "sparse": saved(torch.eye(3).to_sparse()),
        "shared": saved({"a": shared, "b": shared[3:], "c": shared.view(3, 4).t(), "d": shared[:1].expand(1000)}),
        "empty": saved({}),
        "no elements": saved({"a": torch.zeros(0, 3)}),
        "NumPy values": saved({"loss": np.float64(0.5), "step": np.int64(3), "array": np.arange(4.0)}),
        "parameter with attributes": saved(_marked(torch, nn)),
        **_library_networks(),
    }


def saved(content: object, **how: object) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save(content, out, **how)  # type: ignore[arg-type]
    return out.getvalue()


def _training(net: object) -> dict[str, object]:
    import argparse
    import pathlib

    import torch

    parameters = list(net.parameters())  # type: ignore[attr-defined]
    adam, sgd = torch.optim.Adam(parameters), torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 10)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    sgd.step()
    return {
        "model": net.state_dict(),  # type: ignore[attr-defined]
        "adam": adam.state_dict(),
        "sgd": sgd.state_dict(),
        "schedule": schedule.state_dict(),
        "epoch": 3,
        "arguments": argparse.Namespace(lr=0.1, classes=["cat", "dog"], out=pathlib.Path("runs")),
        "version": torch.__version__,
        "device": torch.device("cpu"),
        "rng": torch.get_rng_state(),
        "size": torch.Size([3, 4]),
        "type": torch.float16,
    }


def _dtypes(torch: object) -> list[object]:
    names = (
        "float64 float32 float16 bfloat16 complex64 complex128 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool"
    )
    return [getattr(torch, name) for name in [*names.split(), "float8_e4m3fn", "float8_e5m2"]]


def _marked(torch: object, nn: object) -> object:
    parameter = nn.Parameter(torch.ones(2))  # type: ignore[attr-defined]
    parameter.no_decay = True
    return {"w": parameter}


def _library_networks() -> Files:
    from modelscan_bd.torchvision_shim import prepare

    prepare()
    import timm
    import torchvision

    vision = {
        name: getattr(torchvision.models, name)(num_classes=2) for name in ("squeezenet1_1", "shufflenet_v2_x0_5")
    }
    partial = torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=2)
    named = {name: timm.create_model(name, num_classes=2) for name in ("resnet10t", "mobilenetv3_small_050")}
    tiny = timm.models.VisionTransformer(img_size=32, patch_size=16, embed_dim=8, depth=1, num_heads=2)
    networks = {**vision, "torchvision transformer": partial, **named, "timm transformer": tiny}
    return {f"whole {name}": saved(net) for name, net in networks.items()}


def _repacked(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return archive({name: file.read(name) for name in file.namelist()}, deflate=True)
