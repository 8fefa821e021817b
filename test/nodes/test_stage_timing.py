"""What a stage measures of every frame: reception, losses, publication, thread, clock faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import plugins
from edge_inference import nodes
from edge_inference.composition.bus import Bus, Publisher
from edge_inference.core.images.frame import Frame
from edge_inference.core.runtime.latency import MEASURED_PUBLISHING_NS, StageTiming
from edge_inference.core.runtime.thread_times import ThreadTimes, clock_id
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import ImageAdapter
from rig import DEADLINE_S, Collected, Outside, Rig, wait_for

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
both_executors = pytest.mark.parametrize("rig", ["best", "single"], indirect=True)


class Camera:
    """Publishes small images by reference, and collects the timings of a gate."""

    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self.publisher = rig.call(lambda: Publisher(node, ImageAdapter(), "/image_raw", RELIABLE))
        self.timings = rig.tap("/stage_timing")

    def send(self, stamp_ns: int, encoding: str = "mono8") -> StageTiming:
        """Send an image and return its timing."""
        count = len(self.timings)
        self.publisher.publish(
            Frame(np.zeros(4, np.uint8), 2, 2, encoding, 2, False, stamp_ns, "c")
        )
        return self.timings.wait(count + 1)[count]


@pytest.fixture
def camera(rig: Rig) -> Camera:
    return Camera(rig)


def spin(seconds: float) -> None:
    """Use the CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@contextmanager
def busy_executor(rig: Rig) -> Iterator[None]:
    """Keep the executor in one callback during the block."""
    entered, left = threading.Event(), threading.Event()

    def callback() -> None:
        entered.set()
        left.wait(DEADLINE_S)

    caller = threading.Thread(target=rig.call, args=(callback,))
    caller.start()
    assert entered.wait(DEADLINE_S)
    try:
        yield
    finally:
        left.set()
        caller.join()


def sender(rig: Rig, outside: Outside, gate: Any) -> Callable[[], None]:
    """Return a function that sends an image from the other process."""
    speak = outside.speak("/image_raw", "sensor_msgs/Image")
    rig.wait_for_publishers(gate, "/image_raw")

    def send() -> None:
        seconds, nanoseconds = divmod(time.time_ns(), SECOND)
        stamp = {"sec": seconds, "nanosec": nanoseconds}
        speak(header={"stamp": stamp}, height=1, width=1, encoding="mono8", step=1, data="AA==")

    return send


# Inside a process -------------------------------------------------------------------------------


def test_the_parts_of_a_frame_are_on_the_steady_clock(
    rig: Rig, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins.Gate, "process", lambda self, item, settings: spin(0.02) or item)
    rig.load("plugins::Gate")
    before_ns = time.monotonic_ns()
    timing = camera.send(time.time_ns())
    after_ns = time.monotonic_ns()
    moments = (timing.arrived_ns, timing.started_ns, timing.ended_ns, timing.published_ns)
    assert before_ns <= moments[0] <= moments[1] <= moments[2] <= moments[3] <= after_ns
    assert timing.clock_id == clock_id() != 0
    assert timing.process_ms >= 20
    assert 20 <= timing.cpu_ms <= timing.process_ms + 0.1
    assert timing.page_faults >= 0
    assert timing.run_queue_ms is None or 0 <= timing.run_queue_ms <= timing.process_ms
    assert (timing.receive_ms, timing.lost, timing.device_ms) == (None, 0, None)
    assert timing.clock_fault == ""


def test_waiting_without_the_cpu_is_no_cpu_time(
    rig: Rig, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()
    monkeypatch.setattr(
        plugins.Gate, "process", lambda self, item, settings: waiting.wait(0.2) or item
    )
    rig.load("plugins::Gate")
    timing = camera.send(time.time_ns())
    assert timing.process_ms >= 200
    assert timing.cpu_ms < 100


def test_a_slow_local_subscriber_is_time_of_publication(rig: Rig, camera: Camera) -> None:
    rig.load("plugins::Gate")
    Bus.of(rig.context).tap("/passed", lambda frame: spin(0.05))
    timing = camera.send(time.time_ns())
    assert timing.publish_ms >= 50
    assert timing.published_age_ms == timing.age_ms + timing.publish_ms
    assert timing.published_ns - timing.ended_ns >= 50_000_000


def test_waiting_for_a_core_is_measured_where_publishing_takes_long(
    rig: Rig, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadTimes, "run_queue_ms_since", lambda self, before: 7.5)
    rig.load("plugins::Gate")
    spins_s = [0.0]
    Bus.of(rig.context).tap("/passed", lambda frame: spin(spins_s[0]))
    timings = [camera.send(time.time_ns()) for _ in range(20)]
    spins_s[0] = 0.05
    timings.append(camera.send(time.time_ns()))
    for timing in timings:
        is_long = timing.publish_ms > MEASURED_PUBLISHING_NS / 1e6
        assert timing.publish_run_queue_ms == (7.5 if is_long else None)
    assert timings[-1].publish_run_queue_ms == 7.5


def test_a_dropped_frame_has_its_end_too(rig: Rig, camera: Camera) -> None:
    rig.load("plugins::Gate")
    age_ns = 5 * SECOND
    before_ns, begin_ns = time.monotonic_ns(), time.time_ns()
    timing = camera.send(begin_ns - age_ns, "skip")
    took_ms = (time.time_ns() - begin_ns) / 1e6
    assert timing.dropped == "boring"
    assert before_ns <= timing.arrived_ns <= timing.ended_ns <= time.monotonic_ns()
    assert age_ns / 1e6 <= timing.age_ms <= age_ns / 1e6 + took_ms
    assert timing.clock_id == clock_id()
    assert (timing.process_ms, timing.publish_ms, timing.cpu_ms) == (None, None, None)


# From another process ---------------------------------------------------------------------------


@both_executors
def test_a_slow_callback_is_time_of_reception(rig: Rig, outside: Outside) -> None:
    timings = rig.tap("/stage_timing")
    send = sender(rig, outside, rig.load("plugins::Gate"))
    with busy_executor(rig):
        before_ns = time.monotonic_ns()
        send()
        sent_ns = time.monotonic_ns()
        # Long, because the middleware may receive it late on a busy machine.
        wait_for(lambda: time.monotonic_ns() - sent_ns > SECOND, "a second")
    (timing,) = timings.wait()
    assert 100 < timing.receive_ms <= (timing.arrived_ns - before_ns) / 1e6
    assert timing.lost == 0


@both_executors
def test_lost_messages_are_counted_once(rig: Rig, outside: Outside) -> None:
    """The middleware keeps the newest few; the others are lost before the callback."""
    timings = rig.tap("/stage_timing")
    gate = rig.load("plugins::Gate", queue_depth=100)
    send, bursts = sender(rig, outside, gate), 0

    def lost() -> int:
        return sum(timing.lost for timing in list(timings))

    send()  # what is lost before the first message is unknown
    timings.wait()
    while not lost() and bursts < 20:
        with busy_executor(rig):
            for _ in range(30):
                send()
        send()
        bursts += 1
        sent = 1 + 31 * bursts
        wait_for(lambda sent=sent: len(timings) + lost() == sent, "every message, once")
    assert gate.health.drop_counts() == {"lost": lost()}
    assert lost() > 0
    assert not any(timing.dropped for timing in timings)


def test_a_publisher_that_starts_again_is_no_loss(rig: Rig, outside: Outside) -> None:
    timings = rig.tap("/stage_timing")
    gate = rig.load("plugins::Gate", queue_depth=100)
    for _ in range(3):
        send = sender(rig, outside, gate)
        count = len(timings)
        for number in range(5):
            send()
            timings.wait(count + number + 1)
        outside.reset()
        wait_for(lambda: gate.count_publishers("/image_raw") == 0, "the publisher to leave")
    assert {timing.lost for timing in timings} == {0}
    assert gate.health.drop_counts() == {}


# Clock faults -----------------------------------------------------------------------------------


def last_error(gate: Any) -> str:
    return gate.health.status(now_ns=2**62).values["last error"]


def test_a_recording_of_yesterday_has_no_age(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    passed: Collected = rig.tap("/passed")
    timing = camera.send(time.time_ns() - DAY)
    assert (timing.age_ms, timing.clock_fault, timing.dropped) == (None, "stamp_in_past", "")
    assert len(passed) == 1
    assert "got one 24.0 h before it: a recording" in last_error(gate)
    assert "use_sim_time" in last_error(gate)


def test_what_may_be_old_is_not_processed_as_if_it_were_new(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", max_age_ms=1000.0)
    timing = camera.send(time.time_ns() - DAY)
    assert (timing.age_ms, timing.clock_fault) == (None, "stamp_in_past")
    assert timing.dropped == "too_old"
    assert "a recording" in last_error(gate)
    for stamp_ns in (0, time.time_ns() + DAY):
        assert camera.send(stamp_ns).dropped == ""


def test_a_frame_with_an_invalid_stamp_that_waited_too_long_is_dropped(
    rig: Rig, camera: Camera
) -> None:
    gate = rig.load("plugins::Gate", max_age_ms=50.0, queue_depth=5)
    gate.gate.clear()
    frames = [Frame(np.zeros(4, np.uint8), 2, 2, "mono8", 2, False, n, "c") for n in (0, -1)]
    camera.publisher.publish(frames[0])
    assert gate.working.acquire(timeout=DEADLINE_S)
    camera.publisher.publish(frames[1])
    waits_since = time.monotonic()
    wait_for(lambda: time.monotonic() - waits_since > 0.06, "the longest age")
    gate.gate.set()
    timing = camera.timings.wait(2)[1]
    assert (timing.dropped, timing.clock_fault) == ("too_old", "stamp_zero")


def test_a_queue_of_minutes_is_an_age(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    timing = camera.send(time.time_ns() - 180 * SECOND)
    assert timing.age_ms >= 180_000
    assert timing.clock_fault == ""
    assert "last error" not in gate.health.status(now_ns=2**62).values


@pytest.mark.parametrize("plugin", ["Preprocess", "VoiceActivity"])
def test_stages_of_sensors_expect_fresh_stamps(plugin: str) -> None:
    assert getattr(nodes, plugin).from_sensor


def test_a_recording_in_a_loop_is_said(
    rig: Rig, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins.Gate, "from_sensor", True)
    gate = rig.load("plugins::Gate")
    now_ns = time.time_ns()
    stamps = [now_ns - 40 * SECOND + second * SECOND for second in range(10)]
    faults = [camera.send(stamp).clock_fault for stamp in (*stamps, *stamps)]
    assert faults == [*[""] * 10, "stamp_went_back", *[""] * 9]
    assert "got one 9 s before that of the last frame" in last_error(gate)
    assert gate.health.status(now_ns=2**62).values["error: stamp_went_back"] == "1"


def test_monotonic_stamps_are_recognized(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    assert camera.send(time.monotonic_ns()).clock_fault == "stamp_in_past"
    assert "the stamps count from boot" in last_error(gate)


def test_a_node_on_simulated_time_without_a_clock(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", use_sim_time=True)
    assert camera.send(time.time_ns()).clock_fault == "stamp_in_future"
    assert "no /clock has come" in last_error(gate)
