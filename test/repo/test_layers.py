"""Imports point one way, only two packages know ROS, and vendors are imported inside functions."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from tree import PACKAGE, module_name

BELOW = {"core", "errors"}
ENGINES = BELOW | {"backends"}
OPTIMIZE = ENGINES | {"engines"}
# What a robot runs. The workstation's optimize is not among it.
ROBOT = OPTIMIZE | {"observe", "speech", "governor", "platforms"}
ALLOWED = {
    "errors": set(),
    "core": {"errors"},
    "speech": BELOW,
    "governor": BELOW,
    "platforms": BELOW,
    "backends": BELOW,
    "engines": ENGINES,
    "optimize": OPTIMIZE,
    "observe": OPTIMIZE,
    "composition": ROBOT,
    "nodes": ROBOT | {"composition"},
    "cli": ROBOT | {"composition", "optimize"},
}
ROS_PACKAGES = {"composition", "nodes"}
# In a package that knows ROS, yet read by the command line on a workstation.
ROS_FREE_MODULES = {
    "edge_inference.composition.pipeline",
    "edge_inference.composition.parameter_format",
}
OPENCV_PACKAGES = {"core", "nodes"}
MOST_FILES = 20
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
    def package(self) -> str | None:
        root, _, rest = self.name.partition(".")
        package = rest.partition(".")[0]
        return package if root == "edge_inference" and package in ALLOWED else None


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
    package = [*module.split("."), ""][1]
    if not package:  # edge_inference itself: cheap to import, so it imports none of its packages
        allowed: set[str] = set()
    elif package in ALLOWED:
        allowed = ALLOWED[package] | {package}
    else:
        return [f"{module}: {package} is no package of the house"]
    knows_ros = package in ROS_PACKAGES and module not in ROS_FREE_MODULES
    found = []
    for item in imports_of(source, module, is_package=is_package):
        where = f"{module}:{item.line} imports {item.name}"
        if item.package and item.package not in allowed:
            found.append(f"{where}: {package} may import {sorted(allowed) or 'nothing'}")
        if ROS.match(item.name) and not knows_ros:
            found.append(f"{where}: only {sorted(ROS_PACKAGES)} know ROS")
        if VENDOR.match(item.name) and item.runs_at_import:
            found.append(f"{where}: vendor packages are imported inside functions")
        if item.name.partition(".")[0] == "cv2" and package not in OPENCV_PACKAGES:
            found.append(f"{where}: only {sorted(OPENCV_PACKAGES)} use OpenCV")
    return list(dict.fromkeys(found))


def sources() -> dict[str, str]:
    """Return the source of every module by its dotted name; a package's is its ``__init__``."""
    return {module_name(file): file.read_text() for file in sorted(PACKAGE.rglob("*.py"))}


def imported(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which of the modules each of them imports, at import or inside a function."""
    graph: dict[str, set[str]] = {}
    for module, source in modules.items():
        is_package = any(name.startswith(f"{module}.") for name in modules)
        graph[module] = set()
        for item in imports_of(source, module, is_package=is_package):
            name = item.name
            while name and name not in modules:
                name = name.rpartition(".")[0]
            # A file that imports a neighbour names the folder of both on the way.
            if name and not f"{module}.".startswith(f"{name}."):
                graph[module].add(name)
    return graph


def subpackage(module: str) -> str:
    """Return what a module counts as within its package: its subpackage, or itself."""
    return ".".join(module.split(".")[:3])


def circle_of(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the members of one circle, each imports the one before it; empty where none is."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def between_subpackages(graph: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return the imports between subpackages, and files beside them, of one package."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, names in graph.items():
        for name in names:
            here, there = subpackage(module), subpackage(name)
            is_same_package = here.split(".")[:2] == there.split(".")[:2]
            # A package's own file stands for no subpackage.
            if is_same_package and here != there and min(here.count("."), there.count(".")) == 2:
                found[here].add(there)
    return found


def reached_from(graph: Mapping[str, Iterable[str]], package: str) -> set[str]:
    """Return every module that the modules of a package import, directly or not."""
    found: set[str] = set()
    waiting = [name for name in graph if name.startswith(f"edge_inference.{package}.")]
    while waiting:
        for name in graph[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def test_every_module_imports_only_what_its_package_may() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert {file.relative_to(PACKAGE).parts[0] for file in files} > ROS_PACKAGES
    found = [
        fault
        for file in files
        for fault in faults(file.read_text(), module_name(file), is_package=file.stem == "__init__")
    ]
    assert found == []


def test_no_circle_between_files() -> None:
    assert circle_of(imported(sources())) == []


def test_subpackages_of_a_package_import_each_other_one_way() -> None:
    assert circle_of(between_subpackages(imported(sources()))) == []


def test_engines_hold_what_a_robot_needs_and_nothing_else() -> None:
    graph = imported(sources())
    engines = {
        name
        for name, source in sources().items()
        if name.startswith("edge_inference.engines.") and ast.parse(source).body[1:]
    }
    assert engines - reached_from(graph, "nodes") == set()


def test_a_folder_can_be_seen_at_one_glance() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    counts = {
        str(folder.relative_to(PACKAGE)): len([*folder.glob("*.py")])
        - (folder / "__init__.py").exists()
        for folder in folders
    }
    assert {name: n for name, n in counts.items() if n > MOST_FILES} == {}


@pytest.mark.parametrize(
    ("modules", "circle"),
    [
        ({"a": "import edge_inference.core.b", "b": "import edge_inference.core.c", "c": ""}, 0),
        (
            {
                "a": "import edge_inference.core.b",
                "b": "def f():\n    from edge_inference.core import a",
            },
            3,
        ),
    ],
)
def test_a_planted_circle_is_found(modules: dict[str, str], circle: int) -> None:
    graph = imported({f"edge_inference.core.{name}": text for name, text in modules.items()})
    assert len(circle_of(graph)) == circle


def test_a_planted_circle_between_subpackages_is_found() -> None:
    modules = {
        "x.a": "from edge_inference.core.y import b",
        "y.b": "from edge_inference.core import settings",
        "y.c": "from edge_inference.core.x.a import A",
        "x.d": "",
        "settings": "",
    }
    graph = imported({f"edge_inference.core.{name}": text for name, text in modules.items()})
    assert circle_of(graph) == []
    assert set(circle_of(between_subpackages(graph))) == {
        "edge_inference.core.x",
        "edge_inference.core.y",
    }


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core.x", "import edge_inference.backends.base"),
        ("core.x", "from edge_inference import nodes"),
        ("core.x", "from ..composition import bus"),
        ("core.x", "import importlib\nimportlib.import_module('edge_inference.cli.main')"),
        ("errors", "from edge_inference.core import frame"),
        ("backends.x", "from edge_inference.engines import cache"),
        ("speech.x", "from ..governor import control"),
        ("engines.x", "from edge_inference.optimize import prune"),
        ("nodes.x", "from edge_inference.optimize import prune"),
        ("composition.x", "from edge_inference.optimize import prune"),
        ("tools.x", "import os"),
        ("composition.x", "def f():\n    from edge_inference.nodes import decode"),
        ("nodes.x", "from edge_inference.cli import main"),
        ("cli.x", "from edge_inference.nodes import decode"),
        ("cli.x", "def f():\n    import rclpy"),
        ("cli.x", "from edge_inference.msg import TensorList"),
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
        ("optimize.x", "from edge_inference.engines import cache"),
        ("composition.x", "import rclpy\nfrom edge_inference.msg import TensorList"),
        ("composition.pipeline", "import yaml"),
        ("nodes.x", "from edge_inference.composition import bus\nimport cv2"),
        ("cli.x", "def f():\n    from edge_inference.composition import container"),
    ],
)
def test_what_is_allowed_raises_no_complaint(module: str, line: str) -> None:
    assert faults(line, f"edge_inference.{module}") == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    line = "from .decoders import nanodet"
    names = {i.name for i in imports_of(line, "edge_inference.core", is_package=True)}
    assert names == {"edge_inference.core.decoders", "edge_inference.core.decoders.nanodet"}
