"""The perception pipeline in one process or in several, in which faults can be made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from edge_inference.msg import TensorList
from rclpy.context import Context
from rclpy.parameter import Parameter

from benchmarks.attribution_faults import OUTPUTS, Fault, FaultMaker
from benchmarks.perception import Camera, make_image
from benchmarks.sides import Side, domains, shared_memory
from benchmarks.spinning_node import SpinningNode
from edge_inference.composition.bus import Bus
from edge_inference.composition.container import Container
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.composition.process import load_components
from edge_inference.core.images.frame import Frame
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics

#: A model that leaves most of a core free.
MODEL = "efficientnet_lite0"
STAGES = ("preprocess", "inference", "decode")
_CAMERA = "camera"
_MONITOR = "process_monitor"
_SIZE = (320, 240)
#: The processes of each layout, with their components.
LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "one process": ((_CAMERA, *STAGES),),
    "camera outside": ((_CAMERA,), STAGES),
    "several processes": ((_CAMERA,), *((stage,) for stage in STAGES)),
}
_WAIT_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Recorded:
    """What a process recorded in a window."""

    timings: list[StageTiming]
    statistics: list[ProcessStatistics]


class Part:
    """A process of the pipeline: a container with some of its components."""

    def __init__(self, names: Sequence[str]) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._container = Container(self._context)
        components = [
            each
            for each in load_pipeline("perception").components({"model": MODEL})
            if each.name in names
        ]
        failures = load_components(self._container, components)
        if failures:
            raise RuntimeError("; ".join(failures))
        # Each process has its monitor.
        name = f"{_MONITOR}_{names[0]}"
        self._container.load("edge_inference::ProcessMonitor", _rename(name))
        self.camera = CameraThread(self._container) if _CAMERA in names else None
        self._nodes = {each.node.get_name(): each.node for each in self._container.components}
        self._lock = threading.Lock()
        self._timings: list[StageTiming] = []
        self._statistics: list[ProcessStatistics] = []
        bus = Bus.of(self._context)
        bus.tap("/ai/stage_timing", self._add_timing)
        bus.tap("/ai/process_statistics", self._add_statistics)
        self._faults = FaultMaker(self._container, self._nodes)
        self._spinner = threading.Thread(target=self._container.spin, daemon=True)
        self._spinner.start()

    def start_camera(self, rate_hz: float) -> None:
        """Publish images at this rate from now on."""
        assert self.camera is not None
        self.camera.start(rate_hz)

    def start_fault(self, fault: Fault) -> None:
        """Make a fault in this process from now on."""
        if self.camera is not None and self.camera.takes(fault):
            self.camera.fault = fault
        else:
            self._faults.start(fault)

    def stop_fault(self) -> None:
        """End the fault."""
        self._faults.stop()
        if self.camera is not None:
            self.camera.fault = None

    def set_queue_depth(self, depth: int) -> None:
        """Set the queue depth of all stages of this process."""
        for node in self._nodes.values():
            if node.has_parameter("queue_depth"):
                node.set_parameters([Parameter("queue_depth", value=depth)])

    def take(self) -> Recorded:
        """Return what was recorded since the last call."""
        with self._lock:
            recorded = Recorded(self._timings, self._statistics)
            self._timings, self._statistics = [], []
        return recorded

    def pin(self, cores: Sequence[int]) -> None:
        """Let all threads of this process run on these cores only."""
        for task in Path("/proc/self/task").iterdir():
            try:
                os.sched_setaffinity(int(task.name), cores)
            except ProcessLookupError:
                continue  # the thread has ended

    def close(self) -> None:
        """Unload everything."""
        if self.camera is not None:
            self.camera.stop()
        self._faults.stop()
        self._container.stop()
        self._spinner.join()
        self._container.close()
        self._context.try_shutdown()

    def _add_timing(self, timing: StageTiming) -> None:
        with self._lock:
            self._timings.append(timing)

    def _add_statistics(self, statistics: ProcessStatistics) -> None:
        with self._lock:
            self._statistics.append(statistics)


def _rename(name: str) -> list[str]:
    return ["--ros-args", "-r", f"__node:={name}"]


class CameraThread:
    """Publishes an image at a rate, in its own thread, as a camera's driver does.

    Its faults: "burst" and "lost" publish the images of ``ms`` at once, after a pause of as long;
    in "lost" they overflow the queue of the middleware. "overload" publishes every ``ms``, faster
    than inference is. "stamps" shifts the stamps by ``ms``.
    """

    def __init__(self, container: Container) -> None:
        node: Any = container.load(f"{Camera.__module__}::{Camera.__name__}", []).node
        self._node = node
        self._image = make_image(*_SIZE)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.fault: Fault | None = None

    def takes(self, fault: Fault) -> bool:
        """Tell whether the fault is one of the camera."""
        return fault.kind in ("burst", "lost", "overload", "stamps")

    def start(self, rate_hz: float) -> None:
        """Publish from now on."""
        self.stop()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, args=(1.0 / rate_hz,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, period_s: float) -> None:
        due_s = time.monotonic()
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            fault = self.fault
            count, pause_s, shift_ns = 1, period_s, 0
            if fault is not None and fault.kind == "stamps":
                shift_ns = round(fault.ms * 1e6)
            elif fault is not None and fault.kind == "overload":
                pause_s = fault.ms / 1e3
            elif fault is not None:
                count, pause_s = max(2, round(fault.ms / 1e3 / period_s)), fault.ms / 1e3
            for _ in range(count):
                stamp_ns = self._node.get_clock().now().nanoseconds + shift_ns
                frame = Frame.from_array(self._image, "bgr8", max(0, stamp_ns), "camera")
                self._node.images.publish(frame)
            due_s = max(due_s + pause_s, time.monotonic())


class Pipeline:
    """The processes of a layout; made by :func:`open_layout`."""

    def __init__(self, layout: str, sides: Sequence[Side], readers: Side) -> None:
        self.layout = layout
        self.sides = sides
        self._readers = readers
        self._names = LAYOUTS[layout]

    def side_of(self, component: str) -> Side:
        """Return the process that runs a component."""
        return next(
            side for side, names in zip(self.sides, self._names, strict=True) if component in names
        )

    def neighbors(self, component: str) -> tuple[str, ...]:
        """Return the stages in the process of a component, with itself."""
        return next(names for names in self._names if component in names)

    @contextmanager
    def reading(self, fault: Fault) -> Iterator[None]:
        """Have ``ms`` readers of a stage's output in another process for the block."""
        self._readers.ask("start", OUTPUTS[fault.stage], round(fault.ms))
        try:
            yield
        finally:
            self._readers.ask("stop")

    @property
    def pids(self) -> list[int]:
        """The ids of its processes."""
        return [side.pid for side in (*self.sides, self._readers)]

    def ask_all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method in every process."""
        return [side.ask(method, *arguments) for side in self.sides]

    def take(self) -> Recorded:
        """Return what all processes recorded since the last call."""
        recorded: list[Recorded] = self.ask_all("take")
        return Recorded(
            [timing for each in recorded for timing in each.timings],
            [statistics for each in recorded for statistics in each.statistics],
        )


class Readers(SpinningNode):
    """Subscribers in a process of their own, for which each output becomes a message."""

    def start(self, topic: str, count: int) -> None:
        """Subscribe this number of times."""
        self._subscriptions = [
            self.node.create_subscription(TensorList, topic, lambda _: None, 5, raw=True)
            for _ in range(count)
        ]

    def stop(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)


@contextmanager
def open_layout(layout: str, rate_hz: float) -> Iterator[Pipeline]:
    """Run the pipeline in this layout until results arrive, then yield it."""
    (domain,) = domains(1)
    opened: list[Side] = []
    try:
        for names in LAYOUTS[layout]:
            opened.append(Side(domain, Part, names, environment=shared_memory()))
        sides = opened.copy()
        readers = Side(domain, Readers, environment=shared_memory())
        opened.append(readers)
        pipeline = Pipeline(layout, sides, readers)
        pipeline.side_of(_CAMERA).ask("start_camera", rate_hz)
        _wait_for_results(pipeline)
        yield pipeline
    finally:
        for side in reversed(opened):
            side.close()


def _wait_for_results(pipeline: Pipeline) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    seen: set[str] = set()
    while not seen.issuperset(STAGES):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"no frame passed all stages within {_WAIT_S:g} s, only {seen}")
        time.sleep(_POLL_S)  # the processes have no event to wait for
        seen |= {each.stage for each in pipeline.take().timings if not each.dropped}
