"""A file of a few megabytes is audited in a second, interpreter and all, and without torch."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audit import corpus, onnx_corpus
from onnx import numpy_helper

NUMBERS = 2**20  # floats: four megabytes
CHILD = """
import json, sys
from pathlib import Path
from modelscan_bd.audit import audit
print(json.dumps([[remark.severity for remark in audit(Path(sys.argv[1]))], 'torch' in sys.modules]))
"""


def torch_file() -> bytes:
    shape = corpus.tensor(elements=NUMBERS, size=(NUMBERS,), stride=(1,))
    return corpus.torch_zip(corpus.stream(b"}" + corpus.word("w") + shape + b"s"), data__0=bytes(4 * NUMBERS))


def onnx_file() -> bytes:
    many = tuple(numpy_helper.from_array(np.zeros(NUMBERS // 64, np.float32), f"t{index}") for index in range(64))
    model = onnx_corpus.network(onnx_corpus.FLAT, onnx_corpus.GEMM, tensors=(onnx_corpus.WEIGHTS, *many))
    return bytes(model.SerializeToString())


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(NUMBERS, np.float32))
    return out.getvalue()


@pytest.mark.parametrize("make", [torch_file, onnx_file, array])
def test_a_second_is_enough(tmp_path: Path, make: Callable[[], bytes]) -> None:
    (tmp_path / "model").write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "model")]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    severities, torch = json.loads(done.stdout)
    assert set(severities) <= {"info", "low"}
    assert not torch
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0, "seconds of one core"
