"""The installation on a robot, as in the README, on fakes of Humble, Jazzy and Kilted.

A fake has the distribution's Python, and its NumPy and OpenCV in a user's site folder, where an
environment with system site packages sees them. The packages of a fake are fetched once and stay
in ``.cache``; those that the documents install are fetched each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import command_runner
import installer

CACHE = ROOT / ".cache"
FENCE = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The start of the lines that make and fill the environment; the build and launch need a robot.
INSTALL_COMMANDS = ("python3 -m venv", "touch", "source .venv", "pip install")
VERSIONS = """
import json
import cv2
import numpy
import onnxruntime
print(json.dumps([numpy.__version__, cv2.__version__, numpy.__file__, onnxruntime.__version__]))
"""
CHECK = """
import sys
from edge_inference.cli.main import main
sys.exit(main('edge-inference', sys.argv[1:]))
"""


@dataclass(frozen=True)
class FakeDistribution:
    """A distribution's Python and apt packages, in the nearest versions that have wheels."""

    python: str
    numpy: str
    opencv: str
    others: tuple[str, ...]

    @property
    def requirements(self) -> list[str]:
        opencv = f"opencv-python-headless=={self.opencv}"
        return [f"numpy=={self.numpy}", opencv, *self.others]


FAKES = {
    "humble": FakeDistribution("python3.10", "1.21.5", "4.5.4.60", ("PyYAML==6.0", "rich==11.2.0")),
    # Both are for Ubuntu 24.04.
    "jazzy, kilted": FakeDistribution(
        "python3.12", "1.26.4", "4.6.0.66", ("PyYAML==6.0.1", "rich==13.7.1")
    ),
}


def prefix_of(python: str) -> Path:
    """Return the prefix of an interpreter; skip the test if it is not installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    others = pyenv.glob(f"versions/{python.removeprefix('python')}*/bin/{python}")
    for command in (python, *sorted(map(str, others))):
        query = [command, "-c", "import sys; print(sys.base_prefix)"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            done = subprocess.run(query, capture_output=True, text=True, check=True)
            return Path(done.stdout.strip())
    return pytest.skip(f"{python} is not installed")


def system_packages(fake: FakeDistribution, python: Path) -> Path:
    """Return a user's base folder with the distribution's packages."""
    base = CACHE / "robot" / "-".join([fake.python, *fake.requirements])
    if not base.exists():
        unfinished = base.with_name(f"{base.name}.{os.getpid()}")
        site = unfinished / "lib" / fake.python / "site-packages"
        log = CACHE / "log" / "robot.log"
        run = command_runner.CommandRunner(python, log, CACHE / "pip")
        install = installer.Installer(run, ROOT / "requirements" / "installer.txt", CACHE / "uv")
        try:
            install.install(["--no-deps", "--target", str(site), *fake.requirements], step="fake")
        except command_runner.SetUpError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{fake.python}: the packages of the fake are not available: {error}")
        unfinished.replace(base)
    return base


def documented(file: str, heading: str) -> list[str]:
    """Return the lines of a document's section that make and fill the environment."""
    text = (ROOT / file).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for block in FENCE.findall(section) for line in block.splitlines()]
    return [line for line in lines if line.startswith(INSTALL_COMMANDS)]


@dataclass(frozen=True)
class Robot:
    """A colcon workspace with the environment that the documents describe."""

    workspace: Path
    fake: FakeDistribution
    environment: dict[str, str]

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.workspace,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}"
        return done.stdout

    def python(self, code: str, *arguments: str) -> str:
        words = " ".join([f'"{code}"', *arguments])
        path = f"PYTHONPATH={ROOT} PYTHONDONTWRITEBYTECODE=1"
        return self.run(f"source .venv/bin/activate && {path} python3 -c {words}")


@pytest.fixture(params=sorted(FAKES))
def robot(request: pytest.FixtureRequest, tmp_path: Path) -> Robot:
    """Follow the README up to the colcon build."""
    fake = FAKES[request.param]
    prefix = prefix_of(fake.python)
    base = system_packages(fake, prefix / "bin" / fake.python)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment = {
        **kept,
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_CACHE_DIR": str(CACHE / "pip"),
        "PIP_NO_COMPILE": "1",
        "PYTHONUSERBASE": str(base),
    }
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "edge_inference").symlink_to(ROOT)
    robot = Robot(tmp_path, fake, environment)
    robot.run("\n".join(documented("README.md", "On a robot")))
    return robot


def test_install_commands_are_found_in_the_documents() -> None:
    lines = documented("README.md", "On a robot")
    assert any("--system-site-packages" in line for line in lines), lines
    assert any("requirements/robot.txt" in line for line in lines), lines
    assert any("requirements/robot_precisions.txt" in line for line in lines), lines
    assert any("robot_constraints.txt" in line for line in documented("docs/voice.md", "Trying it"))


def test_models_run_with_numpy_and_opencv_of_the_distribution(robot: Robot) -> None:
    """In fp32 and in a precision that the robot derives, after all documented installations."""
    voice = [line for line in documented("docs/voice.md", "Trying it") if "--no-deps" not in line]
    robot.run("\n".join(["source .venv/bin/activate", *voice]))
    numpy, opencv, origin, _ = json.loads(robot.python(VERSIONS))
    assert numpy == robot.fake.numpy
    assert robot.fake.opencv.startswith(opencv)
    assert origin.startswith(robot.environment["PYTHONUSERBASE"])
    assert "passed" in robot.python(CHECK, "models", "check", "nanodet")
    assert (robot.workspace / ".venv" / "COLCON_IGNORE").is_file()
