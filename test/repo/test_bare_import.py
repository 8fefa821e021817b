"""The workstation rooms import without ROS, TensorRT, CUDA, torch or ONNX Runtime."""

from __future__ import annotations

import json
import subprocess
import sys

from tree import PACKAGE, ROOT, module_name

ROS_ROOMS = ("composition", "nodes")
ROS_FREE_MODULES = ("edge_inference.composition", "edge_inference.composition.pipeline")
PROBE = """
import importlib, json, re, sys, traceback

ABSENT = re.compile(
    r"(rclpy|rosidl_\\w+|launch|launch_ros|\\w+_msgs|\\w+_interfaces|edge_inference\\.msg|cv_bridge"
    r"|onnx|onnxruntime|tensorrt|tensorrt_rtx|pycuda|torch|triton|tritonclient)(\\.|$)"
)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if ABSENT.match(name):
            raise ModuleNotFoundError(f"{name} is absent in this test", name=name)

sys.meta_path.insert(0, Absent())
failures = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception:
        failures[name] = traceback.format_exc(limit=-2)
print(json.dumps(failures))
"""


def failures_of(names: list[str]) -> dict[str, str]:
    """Import modules in a process where those packages are absent; return the tracebacks."""
    command = [sys.executable, "-c", PROBE, json.dumps(names)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def ros_free_modules() -> list[str]:
    rooms = (f for f in PACKAGE.rglob("*.py") if f.relative_to(PACKAGE).parts[0] not in ROS_ROOMS)
    return sorted({*map(module_name, rooms), *ROS_FREE_MODULES})


def test_the_probe_hides_what_is_installed() -> None:
    names = ["rclpy", "onnx", "tensorrt_rtx", "std_msgs.msg", "edge_inference.msg"]
    assert set(failures_of(names)) == set(names)


def test_every_workstation_module_imports_bare() -> None:
    assert failures_of(ros_free_modules()) == {}
