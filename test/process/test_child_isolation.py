"""No process of ours takes the user's files for modules because it runs among them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge_inference.core.models.model_search import find_model
from edge_inference.core.runtime.child_process import python_command, python_environment
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.preparation import check_in_child, prepare_in_child
from edge_inference.platforms.actuators.guardian import Guardian
from edge_inference.platforms.actuators.machine import Machine
from installed_extension import write_metadata

ROOT = Path(__file__).parents[2]
DEADLINE_S = 300.0
#: Of the standard library, of others, and of ours.
NAMES = ("json", "runpy", "numpy", "cv2", "onnxruntime", "yaml", "edge_inference")
TEMPLATE = ROOT / "resource" / "executable.in"
#: What a start script imports first of all, and no other packages' .pth files before it.
FIRST = ("signal",)
CODE = "import json, numpy, cv2, onnxruntime; print(json.dumps(len(sys.argv)))"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Work in a folder whose files have names of modules; returns those that were imported."""
    found = tmp_path / "found"
    found.mkdir()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    set_traps(NAMES, found)
    # As `python -c`, an interactive Python and an empty entry of PYTHONPATH leave it.
    monkeypatch.setattr(sys, "path", ["", str(here), *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", str(ROOT), "")))
    return lambda: sorted(file.name for file in found.iterdir())


def set_traps(names: Sequence[str], found: Path) -> None:
    """Write files with modules' names into the working folder; each notes that it is imported."""
    for name in names:
        text = f"open({str(found / name)!r}, 'w')\nraise ImportError('a file of the user')\n"
        Path(f"{name}.py").write_text(text)


def never() -> bool:
    return False


def test_the_trap_works(imported: Callable[[], list[str]]) -> None:
    subprocess.run([sys.executable, "-c", "import onnxruntime"], capture_output=True, check=False)
    assert "onnxruntime" in imported()


def prepare(folder: Path) -> None:
    request = EngineRequest(find_model("efficientnet_lite0"), "ort", "fp16")
    prepare_in_child(request, ArtifactCache(folder), lambda phase, fraction: None, never)


def check(folder: Path) -> None:
    request = EngineRequest(find_model("efficientnet_lite0"), "ort", "fp32")
    check_in_child(request, ArtifactCache(folder), "warn", "off", never)


def start_guardian(folder: Path) -> None:
    Guardian.start(Machine(folder), folder, "writer", ()).release()


def call_a_tool(folder: Path) -> None:
    tool = folder / "tool"
    tool.write_text("#!/bin/sh\necho done\n")
    tool.chmod(0o755)
    assert Machine(search_path=str(folder)).run("tool") == "done\n"


def run_code(folder: Path) -> None:
    command = [*python_command(CODE), "argument"]
    done = subprocess.run(
        command, env=python_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


@pytest.mark.parametrize("child", [prepare, check, start_guardian, call_a_tool, run_code])
def test_a_child_imports_nothing_from_the_working_folder(
    imported: Callable[[], list[str]], tmp_path: Path, child: Callable[[Path], None]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    child(folder)
    assert imported() == []


@pytest.mark.parametrize("path", ["{root}", ":{root}", "{root}::", ":"])
@pytest.mark.parametrize("arguments", [["models"], ["models", "check", "nanodet"]])
def test_the_command_imports_nothing_from_the_working_folder(
    imported: Callable[[], list[str]], tmp_path: Path, path: str, arguments: list[str]
) -> None:
    set_traps(FIRST, tmp_path / "found")
    done = run_program(tmp_path, path.format(root=ROOT), arguments)
    assert done.returncode == 0, done.stderr
    assert imported() == []


def test_a_package_in_the_working_folder_is_not_installed(
    imported: Callable[[], list[str]], tmp_path: Path
) -> None:
    write_metadata(Path.cwd(), "trap", "[edge_inference.decoders]\ntrap = json:TRAP\n")
    code = "from edge_inference.core.decoders import DECODERS; print(DECODERS.extensions())"
    child = subprocess.run(
        python_command(code), env=python_environment(), capture_output=True, text=True, check=True
    )
    assert child.stdout == "()\n"
    done = run_program(tmp_path, f"{ROOT}::", ["extensions"])
    assert (done.returncode, done.stderr) == (0, "")
    assert imported() == []


def run_program(folder: Path, path: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run edge-inference as it is installed, with this PYTHONPATH."""
    text = TEMPLATE.read_text().replace("@Python3_EXECUTABLE@", sys.executable)
    program = folder / "edge-inference"
    program.write_text(text.replace("@entry_point@", "edge-inference"))
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
