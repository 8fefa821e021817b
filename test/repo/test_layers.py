"""Imports point one way, only two rooms know ROS, and vendors are imported inside functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tree import PACKAGE, module_name

BELOW = {"core", "errors"}
ENGINES = BELOW | {"backends"}
OPTIMISE = ENGINES | {"engines"}
COMPOSITION = OPTIMISE | {"optimise", "speech", "governor", "platforms"}
ALLOWED = {
    "errors": set(),
    "core": {"errors"},
    "speech": BELOW,
    "governor": BELOW,
    "platforms": BELOW,
    "backends": BELOW,
    "engines": ENGINES,
    "optimise": OPTIMISE,
    "composition": COMPOSITION,
    "nodes": COMPOSITION | {"composition"},
    "tools": COMPOSITION | {"composition"},
}
ROS_ROOMS = {"composition", "nodes"}
# In a room that knows ROS, yet read by tools on a workstation.
ROS_FREE_MODULES = {
    "edge_inference.composition.pipeline",
    "edge_inference.composition.parameter_text",
}
OPENCV_ROOMS = {"core", "nodes"}
ROS = re.compile(
    r"(rclpy|rosidl_\w+|launch|launch_\w+|ament_index_python|builtin_interfaces|\w+_interfaces"
    r"|\w+_msgs|edge_inference\.(msg|srv|action))(\.|$)"
)
VENDOR = re.compile(
    r"(onnx|onnxruntime|tensorrt|tensorrt_rtx|pycuda|cuda|torch|triton|tritonclient|cv_bridge|rosbags"
    r"|matplotlib|pynvml|rapidfuzz|soundfile|sounddevice|tokenizers)(\.|$)"
)


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute dotted name."""

    name: str
    line: int
    runs_at_import: bool

    @property
    def room(self) -> str | None:
        package, _, rest = self.name.partition(".")
        room = rest.partition(".")[0]
        return room if package == "edge_inference" and room in ALLOWED else None


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[Import]:
    """Yield every import in a module's source, inside functions too."""
    parts = module.split(".")

    def names(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            kept = len(parts) - node.level + is_package if node.level else 0
            base = ".".join(filter(None, [*parts[:kept], node.module]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value

    def walk(node: ast.AST, runs: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            yield from (Import(name, child.lineno, runs) for name in names(child))
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, runs and not inside and not checking)

    yield from walk(ast.parse(source), True)


def faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import that the house does not allow."""
    room = [*module.split("."), ""][1]
    if not room:  # the package itself: cheap to import, so it knows no room
        allowed: set[str] = set()
    elif room in ALLOWED:
        allowed = ALLOWED[room] | {room}
    else:
        return [f"{module}: {room} is no room of the house"]
    knows_ros = room in ROS_ROOMS and module not in ROS_FREE_MODULES
    found = []
    for item in imports_of(source, module, is_package=is_package):
        where = f"{module}:{item.line} imports {item.name}"
        if item.room and item.room not in allowed:
            found.append(f"{where}: {room} may import {sorted(allowed) or 'nothing'}")
        if ROS.match(item.name) and not knows_ros:
            found.append(f"{where}: only {sorted(ROS_ROOMS)} know ROS")
        if VENDOR.match(item.name) and item.runs_at_import:
            found.append(f"{where}: vendor packages are imported inside functions")
        if item.name.partition(".")[0] == "cv2" and room not in OPENCV_ROOMS:
            found.append(f"{where}: only {sorted(OPENCV_ROOMS)} use OpenCV")
    return list(dict.fromkeys(found))


def faults_of(file: Path) -> list[str]:
    """Return the faults of a module of the package."""
    return faults(file.read_text(), module_name(file), is_package=file.stem == "__init__")


def test_every_module_imports_only_what_its_room_may() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert {file.parent.name for file in files} > ROS_ROOMS
    assert [fault for file in files for fault in faults_of(file)] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core.x", "import edge_inference.backends.base"),
        ("core.x", "from edge_inference import nodes"),
        ("core.x", "from ..composition import bus"),
        ("core.x", "import importlib\nimportlib.import_module('edge_inference.tools.main')"),
        ("errors", "from edge_inference.core import frame"),
        ("backends.x", "from edge_inference.engines import cache"),
        ("speech.x", "from ..governor import control"),
        ("engines.x", "from edge_inference.optimise import prune"),
        ("composition.x", "def f():\n    from edge_inference.nodes import decode"),
        ("nodes.x", "from edge_inference.tools import main"),
        ("tools.x", "from edge_inference.nodes import decode"),
        ("tools.x", "def f():\n    import rclpy"),
        ("tools.x", "from edge_inference.msg import TensorList"),
        ("core.x", "from sensor_msgs.msg import Image"),
        ("composition.pipeline", "from rclpy.node import Node"),
        ("backends.x", "import onnxruntime"),
        ("backends.x", "try:\n    import tensorrt\nexcept ImportError:\n    pass"),
        ("nodes.x", "from cv_bridge import CvBridge"),
        ("backends.x", "import cv2"),
        ("attic.x", "import os"),
    ],
)
def test_a_planted_fault_is_found(module: str, line: str) -> None:
    assert faults(line, f"edge_inference.{module}") != []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core.x", "import cv2\nimport numpy\nfrom edge_inference.errors import InputError"),
        ("core.x", "from . import frame\nfrom .frame import Frame"),
        ("backends.x", "def f():\n    import onnxruntime"),
        ("backends.x", "if TYPE_CHECKING:\n    import onnxruntime"),
        ("optimise.x", "from edge_inference.engines import cache"),
        ("composition.x", "import rclpy\nfrom edge_inference.msg import TensorList"),
        ("composition.pipeline", "import yaml"),
        ("nodes.x", "from edge_inference.composition import bus\nimport cv2"),
        ("tools.x", "def f():\n    from edge_inference.composition import container"),
    ],
)
def test_what_is_allowed_raises_no_complaint(module: str, line: str) -> None:
    assert faults(line, f"edge_inference.{module}") == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    line = "from .decoders import nanodet"
    names = {i.name for i in imports_of(line, "edge_inference.core", is_package=True)}
    assert names == {"edge_inference.core.decoders", "edge_inference.core.decoders.nanodet"}
