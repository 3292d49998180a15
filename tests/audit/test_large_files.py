"""Large files are looked at where they lie: an audit does not take as much memory as they have bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from audit.corpus import stream, tensor, word

from modelscan_bd.audit import audit

LARGE = 2**28 + 2**20  # bytes of weights, in holes that take no room on the disk
HEAP = 2**27  # bytes that the audit may have of its own

CHILD = """
import json, resource, sys
from pathlib import Path
from modelscan_bd.audit import audit
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]), int(sys.argv[2])))
print(json.dumps([(remark.rule, remark.severity) for remark in audit(Path(sys.argv[1]))]))
"""


def safetensors(path: Path) -> None:
    table = json.dumps({"w": {"dtype": "U8", "shape": [LARGE], "data_offsets": [0, LARGE]}}).encode()
    path.write_bytes(len(table).to_bytes(8, "little") + table)
    os.truncate(path, 8 + len(table) + LARGE)


def checkpoint(path: Path) -> None:
    size = LARGE // 4
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", stream(b"}" + word("w") + tensor(elements=size, size=(size,), stride=(1,)) + b"s"))
        with file.open("m/data/0", "w") as member:
            for _ in range(LARGE // 2**20):
                member.write(bytes(2**20))


def numbers(path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({LARGE // 4},), }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    os.truncate(path, 10 + len(header) + LARGE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA is Linux's")
@pytest.mark.parametrize("make", [safetensors, checkpoint, numbers])
def test_a_large_file_takes_little_memory(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "model")
    command = [sys.executable, "-c", CHILD, str(tmp_path / "model"), str(HEAP)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert {severity for _, severity in json.loads(done.stdout)} <= {"info", "low"}
    (tmp_path / "model").unlink()


def test_an_attack_in_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(stream(b"cos\nsystem\n(" + word("true") + b"tR"))
    os.truncate(path, LARGE)
    assert [remark.rule for remark in audit(path)] == ["BD901"]
