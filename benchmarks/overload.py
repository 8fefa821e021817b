"""Measures a camera at three times the rate of the pipeline, compared with a plain subscription.

The service time is the time of a single image in the pipeline,
from publish to result (the median), measured before every turn; the camera then
publishes three images in that time.
A frame's age is the time from its capture stamp to the end of decoding. Stock is a
typical rclpy subscription that keeps the last 10 messages, and
does the same preprocessing, inference and decoding in its callback. Both sides have
the camera in their process and run alternately. Memory is that of the container's
process after its first turn and after its last.
"""

from __future__ import annotations

import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from benchmarks.perception import SIZES, BareLoop, ContainedPipeline, OneAtATime, make_image
from benchmarks.report import Report, Samples
from benchmarks.sides import Side, domains, resident_mib
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import Result
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.images import ImageAdapter

_OVERLOAD = 3.0
_AGE_BOUND = 2.5
_GROWTH_BOUND_MIB = 10.0
_QUEUE = 10
_ALONE = 20
_DRAIN_S = 1.0
_SPIN_TIMEOUT_S = 0.5


class Turn(NamedTuple):
    """The number of images published in one turn, and the ages of the results in nanoseconds."""

    published: int
    ages: list[int]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("overload", argv, __doc__)
    turns, seconds = (3, 2.0) if report.quick else (7, 6.0)
    for name, (width, height) in SIZES.items():
        _measure(report, name, width, height, turns, seconds)
    return report.finish()


def _measure(
    report: Report, name: str, width: int, height: int, turns: int, seconds: float
) -> None:
    first, second = domains(2)
    ages: dict[str, list[int]] = {"pipeline": [], "queue of 10": []}
    published = dict.fromkeys(ages, 0)
    alone: list[int] = []
    memory: list[float] = []
    with (
        Side(first, Contained, width, height) as ours,
        Side(second, PlainSubscription, width, height) as stock,
    ):
        ours.ask("alone", _ALONE)
        for number in range(turns):
            lone: list[int] = ours.ask("alone", _ALONE)
            rate = _OVERLOAD * 1e3 / Samples(lone).p50
            for side_name, side in (("pipeline", ours), ("queue of 10", stock)):
                turn: Turn = side.ask("run", rate, seconds)
                if number:  # the first turn warms up
                    ages[side_name] += turn.ages
                    published[side_name] += turn.published
            alone += lone if number else []
            memory.append(resident_mib(ours.pid))
    service = Samples(alone).p50
    report.samples(f"{name}, one image alone", Samples(alone))
    for side_name, found in ages.items():
        samples = Samples(found)
        report.samples(f"{name}, {side_name}, age of a result", samples)
        times = samples.percentile(99) / service
        share = len(found) / published[side_name]
        report.figure(f"{name}, {side_name}, results per image", share)
        if side_name == "pipeline":
            what = f"overload-{name}-p99-age-in-service-times"
            report.claim(what, times, at_most=_AGE_BOUND)
        else:
            report.figure(f"{name}, {side_name}, p99 age in service times", times)
    report.figure(f"{name}, memory after each turn", " ".join(f"{m:.1f}" for m in memory), "MiB")
    growth = memory[-1] - memory[0]
    report.claim(f"overload-{name}-memory-growth-MiB", growth, at_most=_GROWTH_BOUND_MIB)


class Contained:
    """The pipeline in a container, with a camera component."""

    def __init__(self, width: int, height: int) -> None:
        self._image = make_image(width, height)
        self._ages: list[int] = []
        self._pipeline = ContainedPipeline()
        self._pipeline.listen(self._receive)
        self._alone = OneAtATime(self._pipeline)

    def alone(self, count: int) -> list[int]:
        """Return the times of single images in the pipeline."""
        return [self._alone(self._image) for _ in range(count)]

    def run(self, rate: float, seconds: float) -> Turn:
        """Publish at a rate and return the ages of the results."""
        return _run_turn(self._publish, self._ages, rate, seconds)

    def close(self) -> None:
        """Unload everything."""
        self._pipeline.close()

    def _publish(self) -> None:
        stamp = self._pipeline.now_ns()
        self._pipeline.publish(Frame.from_array(self._image.copy(), "bgr8", stamp, "camera"))

    def _receive(self, result: Result) -> None:
        self._ages.append(self._pipeline.now_ns() - result.stamp_ns)


class PlainSubscription:
    """Two stock nodes with the processing in the callback."""

    def __init__(self, width: int, height: int) -> None:
        self._image = make_image(width, height)
        self._ages: list[int] = []
        self._work = BareLoop()
        self._adapter = ImageAdapter()
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node("subscriber", context=self._context)
        camera = Node("camera", context=self._context)
        qos = QoSProfile(depth=_QUEUE)
        self._publisher = camera.create_publisher(Image, "image", qos)
        self._node.create_subscription(Image, "image", self._receive, qos)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stopping = threading.Event()
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._spinner.start()

    def run(self, rate: float, seconds: float) -> Turn:
        """Publish at a rate and return the ages of the results."""
        return _run_turn(self._publish, self._ages, rate, seconds)

    def close(self) -> None:
        """Leave the graph."""
        self._stopping.set()
        self._spinner.join()
        self._executor.shutdown()
        self._context.try_shutdown()
        self._work.close()

    def _spin(self) -> None:
        while not self._stopping.is_set():
            self._executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _publish(self) -> None:
        pixels = array("B")
        pixels.frombytes(self._image.data.cast("B"))
        height, width = self._image.shape[:2]
        self._publisher.publish(
            Image(
                header=to_header(self._now_ns(), "camera"),
                width=width,
                height=height,
                encoding="bgr8",
                step=width * 3,
                data=pixels,
            )
        )

    def _receive(self, message: Image) -> None:
        self._work(self._adapter.from_message(message))
        self._ages.append(self._now_ns() - stamp_ns(message.header))


def _run_turn(publish: Callable[[], None], ages: list[int], rate: float, seconds: float) -> Turn:
    """Publish at a rate, then wait for the remaining results."""
    ages.clear()
    period = 1 / rate
    count = max(1, int(seconds * rate))
    due = time.monotonic()
    for _ in range(count):
        publish()
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(_DRAIN_S)
    return Turn(count, ages.copy())


if __name__ == "__main__":
    sys.exit(main())
