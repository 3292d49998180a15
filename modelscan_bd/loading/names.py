"""Which global names a pickled checkpoint may mention. Everything that is not listed is refused."""

from __future__ import annotations

import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from enum import Enum

STORAGES = {
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
    "torch.ComplexFloatStorage": 8,
    "torch.ComplexDoubleStorage": 16,
    "torch.storage.UntypedStorage": 1,
}  # bytes per element

ORDERED_DICT = "collections.OrderedDict"
NAMESPACE = "argparse.Namespace"  # in which training scripts keep their arguments
PARTIAL = "functools.partial"
FORMAT = "timm.layers.format.Format"  # an enum that timm's networks hold
PARAMETER = "torch.nn.parameter.Parameter"
REBUILD_TENSOR = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
NUMPY_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
NUMPY_DTYPE = "numpy.dtype"

CALLED = frozenset(
    {
        ORDERED_DICT,
        PARTIAL,
        FORMAT,
        REBUILD_PARAMETER,
        NUMPY_DTYPE,
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
        "_codecs.encode",
        "builtins.set",
        "builtins.complex",
        *REBUILD_TENSOR,
        *NUMPY_SCALAR,
    }
)
CONSTRUCTED = frozenset({ORDERED_DICT, NAMESPACE})
NOT_DENSE = {
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse tensors",
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors without values",
    "torch._utils._rebuild_wrapper_subclass": "tensors of a class of their own",
    "torch._tensor._rebuild_from_type_v2": "tensors of a class of their own",
    "torch._utils._rebuild_parameter_with_state": "parameters with attributes",
}

# Ordinary Python that training scripts leave in checkpoints. It is not rebuilt either, but it is no attack.
_ORDINARY = re.compile(
    r"pathlib\.\w*Path|datetime\.\w+|collections\.(defaultdict|deque|Counter)|numpy\.(_?core\.multiarray\._reconstruct"
    r"|ndarray)|copyreg\._reconstructor|omegaconf\..+|uuid\.UUID|decimal\.Decimal|fractions\.Fraction"
)
_LAYERS = re.compile(
    r"(torch\.nn\.modules\.\w+|torchvision\.models\.\w+(\.\w+)*|torchvision\.ops\.\w+"
    r"|timm\.(models|layers)(\.\w+)+|modelscan_bd\.nets(\.\w+)*)\.[A-Z_]\w*",
    re.ASCII,
)
_DANGEROUS_MODULES = frozenset(
    [
        "_io",
        "_pickle",
        "_posixsubprocess",
        "_thread",
        "asyncio",
        "bdb",
        "builtins",
        "cProfile",
        "cloudpickle",
        "code",
        "codecs",
        "codeop",
        "commands",
        "concurrent",
        "ctypes",
        "dill",
        "distutils",
        "doctest",
        "ensurepip",
        "fileinput",
        "ftplib",
        "functools",
        "gc",
        "glob",
        "http",
        "idlelib",
        "imaplib",
        "imp",
        "importlib",
        "inspect",
        "io",
        "ipykernel",
        "itertools",
        "joblib",
        "lib2to3",
        "linecache",
        "logging",
        "marshal",
        "mmap",
        "multiprocessing",
        "nntplib",
        "nt",
        "ntpath",
        "nturl2path",
        "operator",
        "os",
        "pdb",
        "pickle",
        "pip",
        "pkg_resources",
        "pkgutil",
        "platform",
        "poplib",
        "popen2",
        "posix",
        "posixpath",
        "profile",
        "pty",
        "py_compile",
        "pyclbr",
        "pydoc",
        "requests",
        "resource",
        "rlcompleter",
        "runpy",
        "select",
        "setuptools",
        "shelve",
        "shutil",
        "signal",
        "site",
        "smtplib",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "symtable",
        "sys",
        "sysconfig",
        "tarfile",
        "telnetlib",
        "tempfile",
        "test",
        "threading",
        "timeit",
        "tkinter",
        "trace",
        "types",
        "typing",
        "unittest",
        "urllib",
        "venv",
        "warnings",
        "weakref",
        "webbrowser",
        "winreg",
        "xmlrpc",
        "zipapp",
        "zipfile",
        "zipimport",
    ]
)
_DANGEROUS = re.compile(
    r"torch\.(load|save|compile|from_file|hub|jit|_dynamo|_inductor|fx|package|distributed|multiprocessing|ops|library"
    r"|serialization|testing|utils|storage|cuda|export|_jit_internal|_C|classes|onnx|overrides|_ops|_export)\b.*"
    r"|numpy\.(load|save|savez|savetxt|loadtxt|fromfile|memmap|f2py|testing|distutils|lib|ctypeslib|compat)\b.*"
    r"|timm\.models\._(helpers|hub|factory|builder|registry).*|torchvision\.(datasets|io|_internally).*"
)


class Kin(Enum):
    """What a global name is to a loader."""

    ALLOWED = "may be used as the rules for its kind say"
    LAYER = "a network class of a known library"
    ORDINARY = "ordinary Python that is not rebuilt"
    UNKNOWN = "anything else"
    DANGEROUS = "reaches files, processes, the network or the interpreter"


_CONSTANTS = re.compile(
    r"torch\.(\w*float\d+\w*|b?float16|double|half|long|int|short|u?int\d+|bool|complex\d+)", re.ASCII
)


def modern(module: str, name: str) -> tuple[str, str]:
    """The name in Python 3 of a global that protocol 2 wrote under its Python 2 name."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[(module, name)]
    return IMPORT_MAPPING.get(module, module), name


def kin(full: str) -> Kin:
    if full in CALLED or full in CONSTRUCTED or full in STORAGES or full in NOT_DENSE or full == PARAMETER:
        return Kin.ALLOWED
    if _CONSTANTS.fullmatch(full):
        return Kin.ALLOWED
    if _DANGEROUS.fullmatch(full):
        return Kin.DANGEROUS
    if _LAYERS.fullmatch(full):
        return Kin.LAYER
    if _ORDINARY.fullmatch(full):
        return Kin.ORDINARY
    return Kin.DANGEROUS if full.split(".", 1)[0] in _DANGEROUS_MODULES else Kin.UNKNOWN
