"""Opening a model writes nothing to the user's cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from edge_inference.backends.ort import OrtBackend
with OrtBackend(Path(sys.argv[1])) as backend:
    print(backend.describe())
"""


def test_onnxruntime_writes_no_telemetry(tmp_path: Path, doubling_onnx: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(doubling_onnx)],
        cwd=ROOT,
        env={**environment, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert b"ONNX Runtime" in done.stdout
    assert not list(tmp_path.rglob("*onnxruntime*"))
