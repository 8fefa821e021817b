"""``pip install .`` on a workstation without ROS: the command, the models, and an extension."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tree import ROOT, copy_to, entry_points_of_extension

OFFLINE = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")


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
    wheel = ["wheel", ".", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder]
    run([sys.executable, "-m", "pip", *wheel], source)
    venv = folder / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", venv], folder)
    # The dependencies and pip come from this environment, after the new environment's packages.
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["install", *OFFLINE, "--ignore-installed", "--no-compile", *folder.glob("*.whl")]
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
    assert (package.parents[1] / "observe" / "profiling" / "trace_page.html").is_file()


def test_the_page_of_the_dashboard_is_in_the_package(installed: Path) -> None:
    code = "import edge_inference.observe.dashboard as d; print(d.__path__[0])"
    package = Path(run([installed / "bin" / "python", "-c", code], installed).strip())
    source = ROOT / "edge_inference" / "observe" / "dashboard" / "static"
    files = [file.relative_to(source) for file in source.rglob("*") if file.is_file()]
    assert Path("index.html") in files
    assert [name for name in files if not (package / "static" / name).is_file()] == []


@pytest.fixture(scope="module", params=[(), ("--editable",)], ids=["copied", "editable"])
def extended(request: pytest.FixtureRequest, installed: Path) -> Path:
    """Install the package of a user beside edge_inference; the second time over the first."""
    source = installed.parent / "source" / "test" / "extension_package"
    install = ["install", *OFFLINE, "--no-build-isolation", *request.param, source]
    run([installed / "bin" / "python", "-m", "pip", *install], installed)
    return installed


def test_what_an_installed_package_adds_is_found(extended: Path) -> None:
    lines = run([extended / "bin" / "edge-inference", "extensions", "--json"], extended)
    found = {(each["group"], each["name"]) for each in map(json.loads, lines.splitlines())}
    assert found == entry_points_of_extension()


def test_the_backend_of_an_installed_package_runs_a_model(extended: Path) -> None:
    check = ["models", "check", "efficientnet_lite0", "--backend", "opencv"]
    assert "self-check: passed" in run([extended / "bin" / "edge-inference", *check], extended)
