"""``pip install .`` on a workstation without ROS: the command and the models."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tree import ROOT, copy_to


def run(command: list[str | Path], cwd: Path) -> str:
    """Run a command without the paths of this checkout; return its output."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy of the source tree into a new environment."""
    folder = tmp_path_factory.mktemp("pip")
    source = copy_to(folder / "source")
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    wheel = ["wheel", ".", *offline, "--no-build-isolation", "--wheel-dir", folder]
    run([sys.executable, "-m", "pip", *wheel], source)
    venv = folder / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", venv], folder)
    # The dependencies and pip come from this environment, after the new environment's packages.
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["install", *offline, "--ignore-installed", "--no-compile", *folder.glob("*.whl")]
    run([venv / "bin" / "python", "-m", "pip", *install], folder)
    return venv


def test_the_installed_package_is_imported(installed: Path) -> None:
    code = "import edge_inference.core as c; print(c.__file__)"
    assert run([installed / "bin" / "python", "-c", code], installed).startswith(str(installed))


def test_the_command_runs(installed: Path) -> None:
    assert "usage" in run([installed / "bin" / "edge-inference", "--help"], installed).lower()


@pytest.mark.parametrize("folder", ["config", "models"])
def test_data_is_in_the_share_folder(installed: Path, folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert (installed / "share" / "edge_inference" / file.relative_to(ROOT)).is_file()


def test_the_kernel_source_is_in_the_package(installed: Path) -> None:
    code = "import edge_inference.backends.trt as t; print(t.__path__[0])"
    package = Path(run([installed / "bin" / "python", "-c", code], installed).strip())
    assert (package / "image_kernel.cu").is_file()
