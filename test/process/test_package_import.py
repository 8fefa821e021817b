"""A missing package and a broken one need different advice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_inference.core.runtime.child_process import python_command, python_environment

IMPORTS = {
    "onnxruntime": "from edge_inference.backends.ort import import_onnxruntime as load",
    "onnx": "from edge_inference.engines.precision.onnx_file import import_onnx as load",
}
TITLES = {
    "onnxruntime": "ONNX Runtime",
    "onnx": "the package onnx, which derives other precisions,",
}
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
{load}
from edge_inference.errors import BackendError
try:
    load()
except BackendError as error:
    print(error)
"""


@pytest.fixture
def sentence(tmp_path: Path) -> Callable[[str, str], str]:
    """Return a function that imports a package whose source is given, and returns the error."""

    def run(package: str, source: str) -> str:
        (tmp_path / f"{package}.py").write_text(source)
        command = python_command(PROGRAM.format(load=IMPORTS[package]))
        return subprocess.check_output(
            [*command, str(tmp_path)], text=True, env=python_environment()
        ).strip()

    return run


@pytest.mark.parametrize("package", IMPORTS)
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "raise ModuleNotFoundError('No module named PACKAGE', name='PACKAGE')",
            "is not installed; pip install PACKAGE",
        ),
        (
            "import a_package_that_is_missing.inside",
            "is installed but cannot be imported (No module named "
            "'a_package_that_is_missing'); pip install a_package_that_is_missing",
        ),
        (
            "raise ImportError('numpy.core.multiarray failed to import.\\n\\nMore lines')",
            "is installed but cannot be imported (numpy.core.multiarray failed to import); pip "
            "install --force-reinstall PACKAGE",
        ),
        (
            "raise ImportError",
            "is installed but cannot be imported (ImportError); pip install --force-reinstall "
            "PACKAGE",
        ),
    ],
)
def test_each_cause_has_its_advice(
    sentence: Callable[[str, str], str], package: str, source: str, expected: str
) -> None:
    text = sentence(package, source.replace("PACKAGE", package))
    assert text == f"{TITLES[package]} {expected.replace('PACKAGE', package)}"
