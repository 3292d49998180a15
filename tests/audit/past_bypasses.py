"""What once got past some scanner of model files, each by the advisory or issue that tells of it, made anew in code.

GHSA are advisories of picklescan and fickling, CVE those of PyTorch, ONNX and picklescan; issues are named by their
project. Payloads touch a canary, or name a function that would; nothing here is ever loaded, but by the test that asks
whether they are duds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from audit.bypass import UNKNOWN, Bypass, named
from audit.corpus import call, stacked, stream, word
from audit.onnx_corpus import Sample
from audit.past_claims import onnx, weights_only
from audit.past_forms import containers, forms

from modelscan_bd.grades import Severity


def past(canary: Path) -> dict[str, Bypass]:
    """All of them, with payloads that would touch this canary."""
    touch = word(f"touch {canary}")
    return {
        **{name: Bypass(sample=_calling(full, touch)) for name, full in KNOWN.items()},
        **{
            name: Bypass(sample=_calling(full, touch), rule=UNKNOWN, severity=Severity.HIGH)
            for name, full in NEW.items()
        },
        **{name: Bypass(sample=named("model.pkl", data)) for name, data in forms(canary).items()},
        **containers(call("os.system", touch)),
        **weights_only(touch),
        **onnx(),
    }


def _calling(full: str, touch: bytes) -> Sample:
    module, name = full.split(" ")
    return named("model.pkl", stream(call(stacked(module, name), touch), 4))


# Functions that run what they are given; a list of forbidden ones lacked each of them once.
KNOWN: Final[Mapping[str, str]] = {
    "GHSA-655q-fx9r-782v inductor's compiler": "torch._inductor.codecache compile_file",
    "GHSA-655q-fx9r-782v pydoc's pager": "pydoc pipepager",
    "GHSA-655q-fx9r-782v pip": "pip main",
    "GHSA-655q-fx9r-782v bdb": "bdb Bdb.run",
    "GHSA-v7x6-rv5q-mhwc timeit": "timeit timeit",
    "GHSA-fj43-3qmq-673f numpy runstring": "numpy.testing._private.utils runstring",
    "GHSA-4r9r-ch6f-vxmx": "torch.utils.bottleneck.__main__ run_cprofile",
    "GHSA-4whj-rm5r-c2v8": "torch.utils.bottleneck.__main__ run_autograd_prof",
    "GHSA-86cj-95qr-2p4f": "torch._dynamo.guards GuardBuilder.get",
    "GHSA-f4x7-rfwp-v3xw": "torch.fx.experimental.symbolic_shapes ShapeEnv.evaluate_guards_expression",
    "GHSA-f745-w6jp-hpxx": "torch.utils.collect_env run",
    "GHSA-jhph-76pp-mggw": "torch.utils.collect_env run_and_read_all",
    "GHSA-h3qp-7fh3-f8h4": "torch.utils.data.datapipes.utils.decoder basichandlers",
    "GHSA-vr7h-p6mm-wpmh": "torch.jit.unsupported_tensor_ops execWrapper",
    "GHSA-vv6j-3g6g-2pvj": "torch.utils._config_module ConfigModule.load_config",
    "GHSA-5qwp-399c-mjwf": "trace Trace.run",
    "GHSA-g344-hcph-8vgg": "trace Trace.runctx",
    "GHSA-x696-vm39-cp64": "profile Profile.run",
    "GHSA-6vqj-c2q5-j97w": "profile Profile.runctx",
    "GHSA-7wx9-6375-f5wh": "profile run",
    "GHSA-9w88-8rmg-7g2p": "cProfile runctx",
    "GHSA-49gj-c84q-6qm9": "cProfile run",
    "GHSA-f54q-57x4-jg88": "lib2to3.pgen2.grammar Grammar.loads",
    "GHSA-p9w7-82w4-7q8m": "lib2to3.pgen2.pgen ParserGenerator.make_label",
    "GHSA-3vg9-h568-4w9m": "idlelib.debugobj ObjectTreeItem.SetText",
    "GHSA-6w4w-5w54-rjvr": "idlelib.autocomplete AutoComplete.get_entity",
    "GHSA-7cq8-mj8x-j263": "idlelib.autocomplete AutoComplete.fetch_completions",
    "GHSA-8r4j-24qv-fmq9": "idlelib.calltip Calltip.fetch_tip",
    "GHSA-9xph-j2h6-g47v": "idlelib.calltip get_entity",
    "GHSA-m869-42cg-3xwr": "idlelib.run Executive.runcode",
    "GHSA-j343-8v2j-ff7w": "idlelib.pyshell ModifiedInterpreter.runcommand",
    "GHSA-3gf5-cxq9-w223": "idlelib.pyshell ModifiedInterpreter.runcode",
    "GHSA-cj3c-v495-4xqh": "code InteractiveInterpreter.runcode",
    "GHSA-xp4f-hrf8-rxw7": "ensurepip _run_pip",
    "GHSA-fqq6-7vqf-w3fg": "doctest debug_script",
    "GHSA-q77w-mwjj-7mqx, CVE-2025-10157": "asyncio.unix_events _UnixSubprocessTransport._start",
    "GHSA-m273-6v24-x4m4": "distutils.file_util write_file",
    "GHSA-4675-36f9-wf6r": "ctypes CDLL",
    "GHSA-84r2-jw7c-4r5q": "pydoc locate",
    "GHSA-vqmv-47xg-9wpr": "pty spawn",
    "GHSA-r8g5-cgf2-4m4m": "numpy.f2py.crackfortran getlincoef",
    "GHSA-955r-x9j8-7rhh": "_operator methodcaller",
    "GHSA-46h3-79wf-xr6c": "_operator attrgetter",
    "GHSA-vvpj-8cmc-gx39": "pkgutil resolve_name",
    "GHSA-g38g-8gr9-h9xp uuid": "uuid _get_command_stdout",
    "GHSA-g38g-8gr9-h9xp imaplib": "imaplib IMAP4_stream",
    "GHSA-g38g-8gr9-h9xp osx": "_osx_support _read_output",
    "GHSA-g38g-8gr9-h9xp aix": "_aix_support _read_cmd_output",
    "GHSA-9m3x-qqw2-h32h marshal": "marshal loads",
    "picklescan#66 importlib": "importlib import_module",
    "picklescan#66 a specification": "importlib.util spec_from_file_location",
    "picklescan a file object": "_io FileIO",
    "picklescan a log file": "logging FileHandler",
    "picklescan a download": "urllib.request urlopen",
    "picklescan a code object": "types CodeType",
    "picklescan a certificate of a host that is asked": "ssl get_server_certificate",
    "picklescan breakpoint": "builtins breakpoint",
    "GHSA-565g-hwwr-4pp3": "types FunctionType",
    "GHSA-wfq2-52f7-7qvj": "runpy run_path",
    "GHSA-q5qq-mvfm-j35x": "multiprocessing.util spawnv_passfds",
    "GHSA-h4rm-mm56-xf63": "builtins __import__",
    "GHSA-m6fh-58r7-x697 fork_exec": "_posixsubprocess fork_exec",
    "GHSA-m6fh-58r7-x697 site": "site addsitedir",
    "GHSA-m6fh-58r7-x697 atexit": "atexit register",
    "fickling#312 imp": "imp load_source",
    "fickling#312 pipes": "pipes Template",
    "modelscan#338 read_csv": "pandas.io.parsers.readers read_csv",
    "modelscan#263 read_pickle": "pandas read_pickle",
    "modelaudit#1027 a crash": "faulthandler _sigsegv",
    "modelaudit#1027 a limit": "resource setrlimit",
    "modelaudit#1027 the end": "builtins exit",
    "a text's format": "builtins str.format",
    "CVE-2024-48063": "torch.distributed.nn.api.remote_module _RemoteModule",
    "a reader that falls back to unpickling": "numpy load",
    "a file that is mapped": "torch from_file",
    "a package's importer": "torch.package.package_importer PackageImporter",
    "a generated forward": "torch.fx.graph_module _forward_from_src",
    "weights from a hub": "timm.models._hub load_custom_from_hf",
}
NEW: Final[Mapping[str, str]] = {  # that nobody has listed: the default is to deny
    "GHSA-g38g-8gr9-h9xp pager": "_pyrepl.pager pipe_pager",
    "GHSA-g38g-8gr9-h9xp test": "test.support.script_helper assert_python_ok",
    "modelscan#338 mlflow": "mlflow.projects.backend.local _run_entry_point",
    "fickling#249 a scanner is switched off": "fickling.hook remove_hook",
    "saferpickle#18 a function with a common name": "somebodys.vision.utils load_weights",
    "quantised weights": "torch.ao.nn.quantized.modules.linear LinearPackedParams",
}
