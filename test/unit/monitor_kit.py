"""A monitor with a clock of the test, and what comes on the topics of a robot."""

from __future__ import annotations

import numpy as np

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLevel,
    DirectiveLimits,
    OperatingPoint,
    Workload,
)
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.results import Detections
from edge_inference.core.runtime.latency import (
    EndToEndLatency,
    LatencyReport,
    Percentiles,
    StageLatency,
)
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.monitor.robot_monitor import RobotMonitor
from edge_inference.observe.monitor.snapshot import Snapshot

SECOND = 1_000_000_000
START = 1000 * SECOND
NODE = "/ai/inference"
TIMES = Percentiles(mean=5.0, p50=4.0, p99=9.0)
UNKNOWN = Percentiles()
STAGE = StageLatency(
    "inference", NODE, 100, 10, 30.0, TIMES, UNKNOWN, UNKNOWN, drops={"superseded": 3}
)
REPORT = LatencyReport(
    10.0,
    (STAGE,),
    deadline_ms=50.0,
    ends=(EndToEndLatency("decode", "/ai/decode", 90, TIMES, TIMES, 2),),
)
STATE = InferenceState(
    NODE, "nanodet", "", "nanodet", "", "ort", "fp32", "ONNX Runtime", False, "", None, ""
)
DIRECTIVE = Directive(
    3,
    "/ai/platform_manager",
    NODE,
    DirectiveLevel.REDUCED,
    0.5,
    DirectiveLimits(max_rate_hz=15.0, precision_ceiling="int8"),
    "78 °C",
)
WORKLOAD = Workload(
    NODE,
    50,
    False,
    30.0,
    14.9,
    1.0,
    1,
    (OperatingPoint("nanodet", "fp32"), OperatingPoint("nanodet", "int8")),
    1,
    3,
    "/ai/platform_manager",
    DIRECTIVE.limits,
    "directive",
)


def statistics(pid: int, *nodes: str, **values) -> ProcessStatistics:
    known = {
        "clock_id": 1,
        "begin_ns": SECOND,
        "end_ns": SECOND + SECOND // 2,
        "cpu_ms": 250.0,
        "memory_mib": 120.0,
        "minor_faults": 0,
        "major_faults": 0,
    }
    return ProcessStatistics(nodes, pid, **{**known, **values})


def detections(label: str, stamp_ns: int = 0) -> Detections:
    box = np.array([[1, 2, 31, 42]], np.float32)
    one = np.ones(1, np.float32)
    return Detections(box, one, np.zeros(1, np.int32), (label,), 640, 480, "nanodet", stamp_ns)


class Robot:
    """A monitor with a clock."""

    def __init__(self) -> None:
        self.now_ns = START
        self.monitor = RobotMonitor(wall_ns=lambda: self.now_ns)

    def add(self, topic: str, item: object, after_s: float = 0.0) -> None:
        self.now_ns += round(after_s * SECOND)
        self.monitor.add(topic, item, self.now_ns)

    def see(self, after_s: float = 0.0) -> Snapshot:
        self.now_ns += round(after_s * SECOND)
        return self.monitor.snapshot(self.now_ns)
