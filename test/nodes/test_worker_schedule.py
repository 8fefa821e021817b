"""The worker thread's CPUs and priority follow the parameters."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.images.frame import Frame
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import ImageAdapter
from rig import Rig, wait_for


def worker_of(gate) -> int:
    """Return the system's number of a stage's worker thread."""
    names = {thread.name: thread.native_id for thread in threading.enumerate()}
    return names[gate.get_name()]


def send(rig: Rig, count: int = 1) -> None:
    node = rig.container.node
    publisher = rig.call(lambda: Publisher(node, ImageAdapter(), "/image_raw", RELIABLE))
    stamp_ns = node.get_clock().now().nanoseconds
    for _ in range(count):
        publisher.publish(Frame(np.zeros(4, np.uint8), 2, 2, "mono8", 2, False, stamp_ns, "cam"))


def test_a_worker_is_on_its_cpus_from_the_start_and_between_two_frames(rig: Rig) -> None:
    everywhere = os.sched_getaffinity(0)
    one = min(everywhere)
    gate = rig.load("plugins::Gate", cpu_affinity=[one])
    worker = worker_of(gate)
    wait_for(lambda: os.sched_getaffinity(worker) == {one}, "the affinity")
    assert os.sched_getaffinity(0) == everywhere
    passed = rig.tap("/passed")
    rig.call(lambda: gate.set_parameters([Parameter("cpu_affinity", value=[])]))
    send(rig)
    passed.wait()
    assert os.sched_getaffinity(worker) == everywhere
    assert gate.get_parameter("cpu_affinity").value in (None, [])


def test_missing_cpus_are_one_warning(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    gate = rig.load("plugins::Gate", cpu_affinity=[1023], when_full="wait")
    passed = rig.tap("/passed")
    send(rig, 3)
    passed.wait(3)
    lines = capfd.readouterr().err.splitlines()
    assert (
        sum("cpu_affinity: expected CPUs that this process may use" in line for line in lines) == 1
    )
    assert gate.health.take_errors() == []


def test_a_priority_that_the_system_permits_or_one_warning(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = rig.load("plugins::Gate", thread_priority=7, when_full="wait")
    passed = rig.tap("/passed")
    send(rig, 3)
    passed.wait(3)
    warnings = capfd.readouterr().err.count("limit rtprio to 7")
    is_real_time = os.sched_getparam(worker_of(gate)).sched_priority == 7
    assert warnings == (0 if is_real_time else 1)
    rig.call(lambda: gate.set_parameters([Parameter("thread_priority", value=0)]))
    send(rig)
    passed.wait(4)
    assert os.sched_getparam(worker_of(gate)).sched_priority == 0


@pytest.mark.parametrize(
    ("name", "value"), [("thread_priority", 100), ("thread_priority", -1), ("cpu_affinity", [-1])]
)
def test_what_can_never_be_is_refused(rig: Rig, name: str, value) -> None:
    gate = rig.load("plugins::Gate")
    (result,) = rig.call(lambda: gate.set_parameters([Parameter(name, value=value)]))
    assert not result.successful
    assert name in result.reason
