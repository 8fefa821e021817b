"""The workstation packages import without ROS, TensorRT, CUDA, torch or ONNX Runtime."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from tree import PACKAGE, ROOT, module_name

ROS_PACKAGES = ("composition", "nodes")
ROS_FREE_MODULES = ("edge_inference.composition", "edge_inference.composition.pipeline")
# Each list of modules is imported in its own fork of a process without modules of edge_inference,
# so that no import succeeds because of the modules of another list.
PROBE = """
import importlib, json, os, re, sys, traceback

import cv2, numpy, yaml

ABSENT = re.compile(
    r"(rclpy|rosidl_\\w+|launch|launch_ros|\\w+_msgs|\\w+_interfaces|edge_inference\\.msg|cv_bridge"
    r"|onnx|onnxruntime|tensorrt|tensorrt_rtx|pycuda|torch|torch_pruning|mlxtend|matplotlib|triton"
    r"|tritonclient)(\\.|$)"
)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if ABSENT.match(name):
            raise ModuleNotFoundError(f"{name} is absent in this test", name=name)

def failures_of(names):
    failures = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            failures[name] = traceback.format_exc(limit=-2)
    return failures

sys.meta_path.insert(0, Absent())
failures = {}
for names in json.loads(sys.argv[1]):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with open(writing, "w") as answer:
            json.dump(failures_of(names), answer)
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    failures |= json.loads(text) if not status else {names[0]: f"ended with status {status}"}
print(json.dumps(failures))
"""


def failures_of(*groups: list[str], folder: Path | None = None) -> dict[str, str]:
    """Import groups of modules without the absent packages; return the tracebacks of failures.

    ``folder`` contains additional modules.
    """
    paths = os.pathsep.join(filter(None, [folder and str(folder), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(groups)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def ros_free_modules() -> list[str]:
    files = PACKAGE.rglob("*.py")
    free = (file for file in files if file.relative_to(PACKAGE).parts[0] not in ROS_PACKAGES)
    return sorted({*map(module_name, free), *ROS_FREE_MODULES})


def group_by_package(names: list[str]) -> list[list[str]]:
    """Group modules by their package."""

    def package(name: str) -> str:
        return name.rpartition(".")[0]

    ordered = sorted(names, key=package)
    return [list(group) for _, group in itertools.groupby(ordered, package)]


def test_the_probe_hides_installed_packages() -> None:
    names = ["rclpy", "onnx", "tensorrt_rtx", "torch_pruning", "std_msgs.msg", "edge_inference.msg"]
    assert set(failures_of(names)) == set(names)


def test_loaded_modules_of_one_package_do_not_help_another(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("import sys\nsys.modules['second'] = sys")
    assert set(failures_of(["first", "second"], folder=tmp_path)) == set()
    assert set(failures_of(["first"], ["second"], folder=tmp_path)) == {"second"}


def test_a_module_that_ends_its_process_is_reported(tmp_path: Path) -> None:
    (tmp_path / "third.py").write_text("import os\nos.abort()")
    assert "status" in failures_of(["third"], folder=tmp_path)["third"]


def test_every_workstation_module_imports_bare() -> None:
    groups = group_by_package(ros_free_modules())
    assert len(groups) > 5
    assert failures_of(*groups) == {}
