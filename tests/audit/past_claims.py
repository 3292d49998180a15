"""Files that lie about what they hold or where it is: of tensors that a loader trusts, and of paths that it follows."""

from __future__ import annotations

import struct
from pathlib import Path

from audit import corpus, onnx_corpus
from audit.bypass import CLAIMS, CONTRADICTS, ENDLESS, LEAVES, OPERATOR, OUTSIDE, READ_TWICE, UNKNOWN, Bypass
from audit.bypass import named as file
from audit.corpus import call, group, named, number, state_of, stream, torch_zip, word
from audit.onnx_corpus import FLAT, GEMM, WHOLE, Sample, constant, network, onnx_file, outside
from onnx import ModelProto

from modelscan_bd.grades import Severity

LAYER = "torch.nn.modules.linear.Linear"


def weights_only(touch: bytes) -> dict[str, Bypass]:
    """torch.load(weights_only=True) accepted these in some release, with some list of allowed names, or to this day."""
    tensor = corpus.tensor(elements=6, size=(2, 3), stride=(3, 1))
    small = corpus.tensor(elements=1, size=(1,), stride=(1,))
    hook = call("torch.nn.utils.weight_norm.WeightNorm", word("forward"), number(0))
    distributed = state_of("torch.nn.parallel.distributed.DistributedDataParallel")
    return {
        "CVE-2026-24747 items into a tensor": _claim(tensor + number(0) + b"Ns", 24),
        "CVE-2026-24747 a storage of another size": _claim(small, 2),
        "CVE-2025-62164 a sparse tensor with wild indices": _claim(_sparse(tensor), 24, Severity.LOW),  # as honest ones
        "pytorch#184652 a quantised tensor with a wild stride": _claim(_quantised(), 6),
        "4 TB by a constructor": _attack(call("torch.Tensor", number(2**20), number(2**20)), severity=Severity.HIGH),
        "a hook that sets what the file names": _attack(
            state_of(LAYER, _forward_pre_hooks=call("collections.OrderedDict") + number(0) + hook + b"s"),
            UNKNOWN,
            Severity.HIGH,
        ),
        "a network that joins a process group": _attack(distributed, UNKNOWN, Severity.MEDIUM, hostile=True),
        "GHSA-655q-fx9r-782v torch.load in a partial": _attack(
            call(_bound("torch.load", touch)), severity=Severity.HIGH
        ),
        "a function bound inside a layer": _attack(
            state_of(LAYER, act=_bound("os.system", touch)), severity=Severity.HIGH
        ),
    }  # fmt: skip


def _claim(body: bytes, stored: int, severity: Severity = Severity.MEDIUM) -> Bypass:
    data = torch_zip(stream(body), data__0=bytes(stored))
    return Bypass(sample=file("model.pt", data), rule=CONTRADICTS, severity=severity, hostile=True)


def _attack(
    body: bytes, rule: str = "BD901", severity: Severity = Severity.CRITICAL, *, hostile: bool = False
) -> Bypass:
    return Bypass(sample=file("model.pt", torch_zip(stream(body))), rule=rule, severity=severity, hostile=hostile)


def _bound(function: str, argument: bytes) -> bytes:
    """What functools.partial(function, argument, weights_only=False) is pickled as."""
    name = named(function)
    return (
        call("functools.partial", name)
        + group(name, group(argument), b"}" + word("weights_only") + b"\x89s", b"N")
        + b"b"
    )


def _sparse(indices: bytes) -> bytes:
    layout = call("torch.serialization._get_layout", word("torch.sparse_coo"))
    return call("torch._utils._rebuild_sparse_tensor", layout, group(indices, indices, group(number(2))))


def _quantised() -> bytes:
    storage = group(word("storage"), named("torch.QInt8Storage"), word("0"), word("cpu"), number(6)) + b"Q"
    scheme = group(named("torch.per_tensor_affine"), b"G" + struct.pack(">d", 0.1), number(0))
    shape, stride, hooks = group(number(2), number(3)), group(number(2**40), number(1)), call("collections.OrderedDict")
    return call("torch._utils._rebuild_qtensor", storage, number(0), shape, stride, scheme, b"\x89", hooks)


def onnx() -> dict[str, Bypass]:
    here = network(constant(outside("secret")), FLAT, GEMM)
    keys = outside("w.bin", __class__="x", tensor="y")
    tests = file("test_data.tar", corpus.tarred({"../../x/model.onnx": WHOLE}))
    return {
        "CVE-2025-51480 a path that is written": _onnx(
            onnx_file(network(FLAT, GEMM, tensors=(outside("../../.ssh/authorized_keys"),)))
        ),
        "CVE-2026-34445 keys that are attributes": _onnx(onnx_file(network(FLAT, GEMM, tensors=(keys,))), CLAIMS),
        "modelaudit#1273 an operator in a function's default": _onnx(onnx_file(_default_graph()), OPERATOR),
        "modelaudit#1399 indices of a sparse tensor": _onnx(onnx_file(_sparse_indices())),
        "CVE-2024-5187 a test set that leaves its folder": _onnx(tests, LEAVES),
        "onnx 1.22 a constant read from the current folder": Bypass(
            sample=onnx_file(here), rule=CLAIMS, severity=Severity.LOW, hostile=True
        ),
    }


def _default_graph() -> ModelProto:
    """A function whose default branch calls Python."""
    made = onnx_corpus.function("f")
    branch = onnx_corpus.branch(onnx_corpus.OPERATORS["PyOp"]).attribute[0]
    made.attribute_proto.append(branch)
    return onnx_corpus.with_functions(made)


def _sparse_indices() -> ModelProto:
    model = onnx_corpus.plain()
    sparse = model.graph.sparse_initializer.add(dims=[192, 10])
    sparse.values.CopyFrom(onnx_corpus.WEIGHTS)
    sparse.indices.CopyFrom(outside("../secret"))
    return model


def _onnx(sample: Sample, rule: str = OUTSIDE, severity: Severity = Severity.HIGH) -> Bypass:
    return Bypass(sample=sample, rule=rule, severity=severity)


def elsewhere() -> dict[str, Bypass]:
    """Those that are in the other corpora, under other names."""
    attacks, traps = onnx_corpus.MALICIOUS, onnx_corpus.HOSTILE
    zips = corpus.archives(Path("canary"))
    return {
        "GHSA-w8jq-xcqf-f792, CVE-2025-1945": Bypass(sample=file("model.pt", zips["zip, flag 0x1"])),
        "GHSA-7q5r-7gvp-wc82, CVE-2025-1944": Bypass(sample=file("model.pt", zips["zip, another name in the header"])),
        "GHSA-mjqp-26hc-grxg, CVE-2025-10156": Bypass(sample=file("model.pt", zips["zip, wrong checksum"])),
        "GHSA-769v-p64c-89pr, CVE-2025-1889": Bypass(sample=file("model.pt", zips["zip, as another member"])),
        "two data.pkl": _onnx(file("model.pt", zips["zip, the first of two data.pkl"]), READ_TWICE),
        "CVE-2022-25882": _onnx(attacks["path upwards"]),
        "CVE-2024-27318": _onnx(attacks["path down and upwards"]),
        "CVE-2026-27489": _onnx(attacks["symbolic link"]),
        "VA-26-233-01": _onnx(attacks["linked folder"]),
        "CVE-2026-34446": _onnx(attacks["hard link"]),
        "CVE-2024-27319": _onnx(traps["too few bytes"], CLAIMS, Severity.MEDIUM),
        "CVE-2026-34445 a length without end": _onnx(traps["a length of 2^60"], CLAIMS, Severity.MEDIUM),
        "onnx#8303 functions that unfold": _onnx(traps["functions that unfold to 2^2000"], ENDLESS, Severity.MEDIUM),
        "functions in a ring": _onnx(traps["functions that call each other"], ENDLESS, Severity.MEDIUM),
    }
