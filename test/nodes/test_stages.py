"""Freshness, lifecycle and failure of a stage, on a stage that can be held back."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.composition.reception import BY_REFERENCE
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import DepthMap
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.tensors import TensorBatch
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import ImageAdapter
from rig import DEADLINE_S, Rig, wait_for

SECOND = 1_000_000_000


class Camera:
    """Publishes small images by reference to a gate, whose output is collected."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.node = rig, rig.container.node
        self.publisher = rig.call(
            lambda: Publisher(self.node, ImageAdapter(), "/image_raw", RELIABLE)
        )
        self.passed = rig.tap("/passed")
        self.timings = rig.tap("/stage_timing")

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def send(self, stamp_ns: int | None = None, encoding: str = "mono8") -> Frame:
        stamp_ns = self.now_ns() if stamp_ns is None else stamp_ns
        frame = Frame(np.zeros(4, np.uint8), 2, 2, encoding, 2, False, stamp_ns, "cam")
        self.publisher.publish(frame)
        return frame


@pytest.fixture
def camera(rig: Rig) -> Camera:
    return Camera(rig)


def hold(gate, camera: Camera) -> Frame:
    """Keep the worker busy with one frame until ``gate.gate`` is set."""
    gate.gate.clear()
    frame = camera.send()
    assert gate.working.acquire(timeout=DEADLINE_S)
    return frame


def counts(gate) -> dict[str, int]:
    return gate.health.drop_counts()


# Freshness --------------------------------------------------------------------------------------


def test_the_object_and_its_stamp_pass_unchanged(rig: Rig, camera: Camera) -> None:
    rig.load("plugins::Gate")
    sent = [camera.send() for _ in [camera.passed]]
    camera.passed.wait()
    assert camera.passed == sent
    timing = camera.timings.wait()[0]
    assert (timing.stage, timing.node, timing.dropped) == ("gate", "/gate", "")
    assert (timing.stamp_ns, timing.frame_id) == (sent[0].stamp_ns, "cam")
    assert 0 <= timing.process_ms <= timing.age_ms
    assert timing.queue_ms >= 0


def test_the_latest_wins(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    first = hold(gate, camera)
    sent = [camera.send() for _ in range(5)]
    gate.gate.set()
    camera.passed.wait(2)
    assert camera.passed == [first, sent[-1]]
    assert counts(gate) == {"superseded": 4}
    dropped = [t for t in camera.timings if t.dropped]
    assert [t.stamp_ns for t in dropped] == [f.stamp_ns for f in sent[:-1]]
    assert {(t.dropped, t.process_ms) for t in dropped} == {("superseded", None)}


def test_each_frame_has_arrived_when_it_was_sent(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    hold(gate, camera)
    moments: dict[int, tuple[int, int]] = {}
    for _ in range(4):
        before_ns = time.monotonic_ns()
        stamp_ns = camera.send().stamp_ns
        sent_ns = time.monotonic_ns()
        moments[stamp_ns] = before_ns, sent_ns
        wait_for(lambda: time.monotonic_ns() > sent_ns + 5_000_000, "some time")  # noqa: B023
    gate.gate.set()
    timings = [each for each in camera.timings.wait(5) if each.stamp_ns in moments]
    assert [each.dropped for each in timings] == ["superseded"] * 3 + [""]
    for timing in timings:
        before_ns, sent_ns = moments[timing.stamp_ns]
        assert before_ns <= timing.arrived_ns <= sent_ns


def test_a_queue_keeps_so_many(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", queue_depth=3)
    first = hold(gate, camera)
    sent = [camera.send() for _ in range(5)]
    gate.gate.set()
    camera.passed.wait(4)
    assert camera.passed == [first, *sent[2:]]
    assert counts(gate) == {"superseded": 2}


def test_waiting_loses_nothing(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", when_full="wait")
    sent = [hold(gate, camera)]
    producer = threading.Thread(target=lambda: sent.extend(camera.send() for _ in range(50)))
    producer.start()
    gate.gate.set()
    producer.join(DEADLINE_S)
    camera.passed.wait(51)
    assert camera.passed == sent
    assert counts(gate) == {}


def test_a_waiting_producer_is_released_when_the_stage_stops(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", when_full="wait")
    hold(gate, camera)
    producer = threading.Thread(target=lambda: [camera.send() for _ in range(5)])
    producer.start()
    wait_for(lambda: len(gate._mailbox) == 1, "a full mailbox")
    gate.gate.set()
    rig.call(gate.trigger_deactivate)
    producer.join(DEADLINE_S)
    assert not producer.is_alive()


def test_old_frames_are_dropped(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", max_age_ms=300_000.0)
    camera.send(camera.now_ns() - 500 * SECOND)
    fresh = camera.send(camera.now_ns())
    camera.passed.wait()
    assert camera.passed == [fresh]
    assert counts(gate) in ({"too_old": 1}, {"superseded": 1})
    camera.timings.wait(2)
    old = camera.timings[0]
    assert old.age_ms > 400_000


def test_waiting_time_counts_while_the_clock_stands_still(
    rig: Rig, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = rig.load("plugins::Gate", max_age_ms=50.0)
    halted_ns = camera.now_ns()
    monkeypatch.setattr(gate, "now_ns", lambda: halted_ns)
    hold(gate, camera)
    passed = len(camera.passed)
    camera.send(halted_ns)
    arrived = time.monotonic()
    wait_for(lambda: time.monotonic() - arrived > 0.06, "the longest age")
    gate.gate.set()
    wait_for(lambda: counts(gate).get("too_old"), "the drop")
    assert len(camera.passed) <= passed + 1


@pytest.mark.parametrize(
    ("offset_ns", "fault"), [(None, "stamp_zero"), (60 * SECOND, "stamp_in_future")]
)
def test_an_invalid_stamp_is_an_error_and_the_frame_is_processed(
    rig: Rig, camera: Camera, capfd: pytest.CaptureFixture[str], offset_ns, fault: str
) -> None:
    gate = rig.load("plugins::Gate", max_age_ms=1000.0)
    for number in range(3):
        stamp = 0 if offset_ns is None else camera.now_ns() + offset_ns
        sent = camera.send(stamp)
        assert camera.passed.wait(number + 1)[-1] is sent
    assert counts(gate) == {}
    status = gate.health.status(now_ns=2**62)
    assert status.values[f"error: {fault}"] == "3"
    assert f"{fault}: expected the time of capture" in status.values["last error"]
    assert capfd.readouterr().err.count(fault) == 1
    assert camera.timings.wait(3)[0].age_ms is None


def test_settings_change_between_two_frames(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    hold(gate, camera)
    rig.call(lambda: gate.set_parameters([Parameter("max_age_ms", value=1.0)]))
    camera.send(camera.now_ns() - SECOND)
    gate.gate.set()
    wait_for(lambda: counts(gate) == {"too_old": 1}, "the drop")
    assert len(camera.passed) == 1


# Failure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "reason", "message"),
    [
        ("broken", "invalid", "encoding: expected one that works, got 'broken'"),
        ("bug", "failed", "ZeroDivisionError: a bug"),
        ("exit", "failed", "SystemExit: a library that ends its program"),
    ],
)
def test_a_failing_frame_is_one_error_and_the_next_is_processed(
    rig: Rig,
    camera: Camera,
    capfd: pytest.CaptureFixture[str],
    encoding: str,
    reason: str,
    message: str,
) -> None:
    gate = rig.load("plugins::Gate", when_full="wait")
    for _ in range(3):
        camera.send(encoding=encoding)
    good = camera.send()
    assert camera.passed.wait() == [good]
    assert counts(gate) == {reason: 3}
    wait_for(lambda: len(camera.timings) == 4, "all timings")
    assert [t.dropped for t in camera.timings] == [reason] * 3 + [""]
    lines = capfd.readouterr().err.splitlines()
    assert sum("[ERROR]" in line and message in line for line in lines) == 1


@pytest.mark.parametrize("stamp_ns", [2**31 * 10**9, 2**63, -(2**40) * 10**9, -1])
def test_a_stamp_out_of_range_does_not_end_the_worker(
    rig: Rig, camera: Camera, stamp_ns: int
) -> None:
    rig.load("plugins::Gate", when_full="wait")
    camera.send(stamp_ns=stamp_ns, encoding="broken")
    good = camera.send()
    wait_for(lambda: good in camera.passed, "the next frame")


def test_a_failure_that_cannot_be_reported_does_not_end_the_worker(
    rig: Rig, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = rig.load("plugins::Gate", when_full="wait")
    broken = []

    def publish(timing: object) -> None:
        broken.append(timing)
        raise AssertionError("a message that cannot be made")

    with monkeypatch.context() as patch:
        patch.setattr(gate._timings, "publish", publish)
        camera.send(encoding="broken")
        wait_for(lambda: broken, "the failure")
        wait_for(lambda: "failed" in counts(gate), "its count")
    good = camera.send()
    assert camera.passed.wait() == [good]


def test_a_dropped_frame_is_not_an_error(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    camera.send(encoding="skip")
    wait_for(lambda: counts(gate) == {"boring": 1}, "the drop")
    assert gate.health.take_errors() == []


def test_diagnostics_show_the_health(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", when_full="wait")

    def look(now_ns: int = 2**62):
        status = gate.health.status(now_ns)
        return status.level, status.message

    camera.send()
    wait_for(lambda: look(0)[1] == "active, 1 frames since the last report", "one frame")
    hold(gate, camera)
    gate.gate.set()
    for _ in range(4):
        camera.send(encoding="skip")
    wait_for(lambda: counts(gate) == {"boring": 4}, "the drops")
    assert look() == (HealthLevel.WARN, "dropped 4 of 5 frames: boring 4")
    assert look() == (HealthLevel.OK, "active, 0 frames since the last report")
    camera.send(encoding="broken")
    wait_for(lambda: counts(gate).get("invalid"), "the error")
    level, message = look(0)
    assert (level, message) == (
        HealthLevel.ERROR,
        "encoding: expected one that works, got 'broken'",
    )
    rig.call(gate.trigger_deactivate)
    assert look() == (HealthLevel.OK, "not active")


# Lifecycle --------------------------------------------------------------------------------------


def test_round_and_round_while_frames_flow(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    stop = threading.Event()

    def flow() -> None:
        while not stop.is_set():
            camera.send()
            stop.wait(0.001)

    producer = threading.Thread(target=flow)
    producer.start()
    try:
        for _ in range(5):
            for transition in ("deactivate", "cleanup", "configure", "activate"):
                trigger = getattr(gate, f"trigger_{transition}")
                assert rig.call(trigger) == TransitionCallbackReturn.SUCCESS
            count = len(camera.passed)
            camera.passed.wait(count + 3)
    finally:
        stop.set()
        producer.join()
    assert not counts(gate).keys() & {"failed", "invalid"}
    assert gate.health.take_errors() == []


def test_an_inactive_stage_receives_nothing(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate")
    rig.call(gate.trigger_deactivate)
    wait_for(lambda: not camera.publisher.has_subscribers(), "the subscription's end")
    camera.send()
    rig.call(gate.trigger_activate)
    sent = camera.send()
    assert camera.passed.wait() == [sent]


def test_waiting_frames_are_counted_when_a_stage_stops(rig: Rig, camera: Camera) -> None:
    gate = rig.load("plugins::Gate", queue_depth=5)
    hold(gate, camera)
    for _ in range(3):
        camera.send()
    stopping = threading.Thread(target=lambda: rig.call(gate.trigger_deactivate))
    stopping.start()
    wait_for(lambda: counts(gate) == {"stopped": 3}, "the drops")
    gate.gate.set()
    stopping.join(DEADLINE_S)
    assert not stopping.is_alive()


def test_the_rest_of_a_batch_is_dropped_when_decode_stops(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rig.load("Decode")
    decoded: list[Geometry] = []

    def decode(model: ModelDescription, outputs: object, geometry: Geometry, _: object) -> DepthMap:
        decoded.append(geometry)
        node._mailbox.close()
        return DepthMap(np.zeros((1, 1), np.float32), "m")

    monkeypatch.setattr(ModelDescription, "decode", decode)
    geometry = Geometry(8, 8, 1.0, 1.0, 0.0, 0.0)
    node.receive(TensorBatch({}, (geometry,) * 3, "nanodet", node.now_ns()), BY_REFERENCE)
    wait_for(lambda: node.health.drop_counts() == {"stopped": 1}, "the drop")
    assert len(decoded) == 1


def test_a_frame_that_comes_too_late_is_no_fault_of_the_sender(rig: Rig, camera: Camera) -> None:
    """A publisher may hold the list of receivers while one of them closes for good."""
    gate = rig.load("plugins::Gate")
    rig.call(gate.trigger_deactivate)
    rig.call(gate.trigger_cleanup)
    gate.receive(Frame(np.zeros(1, np.uint8), 1, 1, "mono8", 1), BY_REFERENCE)
    assert counts(gate) == {"stopped": 1}
