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
    """Run a command without this checkout's paths; return what it printed."""
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
    """Install a copy of the source tree into an environment of its own."""
    folder = tmp_path_factory.mktemp("pip")
    source = copy_to(folder / "source")
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    wheel = ["wheel", ".", *offline, "--no-build-isolation", "--wheel-dir", folder]
    run([sys.executable, "-m", "pip", *wheel], source)
    venv = folder / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", venv], folder)
    # The dependencies, and pip, are there already, after the environment's own packages.
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["install", *offline, "--ignore-installed", "--no-compile", *folder.glob("*.whl")]
    run([venv / "bin" / "python", "-m", "pip", *install], folder)
    return venv


def test_the_package_is_the_installed_one(installed: Path) -> None:
    code = "import edge_inference.core as c; print(c.__file__)"
    assert run([installed / "bin" / "python", "-c", code], installed).startswith(str(installed))


def test_the_command_answers(installed: Path) -> None:
    assert "usage" in run([installed / "bin" / "edge-inference", "--help"], installed).lower()


@pytest.mark.parametrize("folder", ["config", "models"])
def test_data_is_in_the_share_folder(installed: Path, folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert (installed / "share" / "edge_inference" / file.relative_to(ROOT)).is_file()


def test_the_source_of_the_kernel_is_in_the_package(installed: Path) -> None:
    code = "import edge_inference.backends.trt as t; print(t.__path__[0])"
    package = Path(run([installed / "bin" / "python", "-c", code], installed).strip())
    assert (package / "image_kernel.cu").is_file()
