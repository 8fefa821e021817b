"""From a machine that gets hot to less inference, and back, seen from outside on topics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_inference.nodes.platform import platform_settings
from edge_inference.platforms.recording.replay import RecordedFiles
from perception_rig import Pipeline, offer_everything
from rig import Outside, Rig, wait_for

HEATS_UP = Path(__file__).parents[1] / "platform_recordings" / "orin_nx_heats_up.jsonl"
#: When the recorded machine is at its hottest.
HOTTEST_S = 34.0
#: Images a second that the camera offers, if the machine is fast enough.
CAMERA_HZ = 10.0
QUICK = {"rate_hz": 10.0, "recording_speed": 10.0, "dwell_down_s": 1.0, "dwell_up_s": 3.0}


class HeldTree(RecordedFiles):
    """Stays at its hottest, while time goes on, until it may cool down."""

    may_cool = threading.Event()
    _held_s = 0.0

    @property
    def elapsed_s(self) -> float:
        whole_s = super().elapsed_s
        if not self.may_cool.is_set():
            self._held_s = max(0.0, whole_s - HOTTEST_S)
        return whole_s - self._held_s

    def now_ns(self) -> int:
        return round(super().elapsed_s * 1e9)


@contextmanager
def camera(*pipelines: Pipeline) -> Iterator[list[int]]:
    """Send image after image; each one only when all pipelines are done with the one before."""
    sent: list[int] = []
    stop = threading.Event()

    def settled(pipeline: Pipeline) -> bool:
        results = len(pipeline.detections) + len(pipeline.classes)
        return results + sum(pipeline.lost().values()) >= len(sent)

    def shoot() -> None:
        while not stop.wait(1 / CAMERA_HZ):
            sent.append(pipelines[0].send())
            wait_for(lambda: all(map(settled, pipelines)), "every pipeline to be done")

    thread = threading.Thread(target=shoot)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def test_rate_and_precision_go_down_with_the_heat_and_come_back(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_everything(monkeypatch)
    monkeypatch.setattr(platform_settings, "RecordedFiles", HeldTree)
    monkeypatch.setattr(HeldTree, "may_cool", threading.Event())
    workloads = outside.listen("/ai/workload", "edge_inference/Workload")
    states = outside.listen("/ai/platform_state", "edge_inference/PlatformState")
    # Fast: exact int8 is hardly faster than fp32 on some processors, and withdrawn on others.
    settings = {"minimum_rate_hz": 2.0, "int8_mode": "fast"}
    flexible = Pipeline(rig, model="nanodet", inference=settings)
    critical = Pipeline(
        rig,
        namespace="/second/ai",
        inference={"safety_critical": True},
        platform="/ai",
        model="efficientnet_lite0",
    )
    with camera(flexible, critical) as sent:
        rig.load("PlatformManager", preset="predictive", recording=str(HEATS_UP), **QUICK)

        def told(node: str) -> list[dict]:
            return [each for each in list(workloads) if each["node"] == node]

        def now(node: str = "/ai/inference") -> dict:
            return told(node)[-1]

        wait_for(lambda: told("/ai/inference") and now()["obeys"] == "directive", "a directive")
        before = len(workloads)
        wait_for(
            lambda: now()["operating_point"] == [1] and now()["precision_ceiling"] == "int8",
            "int8 in service",
        )
        wait_for(lambda: now()["rate_hz"] < 0.7 * now()["demand_hz"], "a lower rate")
        HeldTree.may_cool.set()
        wait_for(
            lambda: now()["operating_point"] == [0] and now()["max_rate_hz"] == float("inf"),
            "fp32 at full rate again",
        )
    assert before < len(workloads)
    lost = flexible.lost()
    assert set(lost) == {"rate_limited"}
    assert len(flexible.detections) + lost["rate_limited"] == len(sent)
    assert len(critical.classes) == len(sent)
    assert critical.lost() == {}
    for workload in told("/second/ai/inference"):
        assert workload["max_rate_hz"] == float("inf")
        assert workload["operating_point"] in ([], [0])
    hottest = max(
        reading["value"]
        for state in states
        for reading in state["readings"]
        if reading["role"] == "control"
    )
    assert hottest > 80
