"""From a machine that heats up to less inference, and back, observed on topics."""

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
#: The time at which the recorded machine is hottest.
HOTTEST_S = 34.0
#: Rate of the camera, if the machine is fast enough.
CAMERA_HZ = 10.0
QUICK = {"rate_hz": 10.0, "recording_speed": 10.0, "dwell_down_s": 1.0, "dwell_up_s": 3.0}


class HotRecording(RecordedFiles):
    """Stays at its hottest state, while the clock runs, until it may cool down."""

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
    """Send images, each one after all pipelines have finished the one before."""
    sent: list[int] = []
    stop = threading.Event()

    def settled(pipeline: Pipeline) -> bool:
        results = len(pipeline.detections) + len(pipeline.classes)
        return results + sum(pipeline.lost().values()) >= len(sent)

    def publish() -> None:
        while not stop.wait(1 / CAMERA_HZ):
            sent.append(pipelines[0].send())
            wait_for(lambda: all(map(settled, pipelines)), "every pipeline to be done")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def test_rate_and_precision_fall_with_the_heat_and_recover(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_everything(monkeypatch)
    monkeypatch.setattr(platform_settings, "RecordedFiles", HotRecording)
    monkeypatch.setattr(HotRecording, "may_cool", threading.Event())
    workloads = outside.listen("/ai/workload", "edge_inference/Workload")
    states = outside.listen("/ai/platform_state", "edge_inference/PlatformState")
    # Exact int8 is hardly faster than fp32 on some CPUs, and withdrawn on others.
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

        def workloads_of(node: str) -> list[dict]:
            return [each for each in list(workloads) if each["node"] == node]

        def latest(node: str = "/ai/inference") -> dict:
            return workloads_of(node)[-1]

        wait_for(
            lambda: workloads_of("/ai/inference") and latest()["limits_source"] == "directive",
            "a directive",
        )
        before = len(workloads)
        wait_for(
            lambda: latest()["operating_point"] == [1] and latest()["precision_ceiling"] == "int8",
            "int8 in service",
        )
        wait_for(lambda: latest()["rate_hz"] < 0.7 * latest()["demand_hz"], "a lower rate")
        HotRecording.may_cool.set()
        wait_for(
            lambda: latest()["operating_point"] == [0] and latest()["max_rate_hz"] == float("inf"),
            "fp32 at full rate again",
        )
    assert before < len(workloads)
    lost = flexible.lost()
    assert set(lost) == {"rate_limited"}
    assert len(flexible.detections) + lost["rate_limited"] == len(sent)
    assert len(critical.classes) == len(sent)
    assert critical.lost() == {}
    for workload in workloads_of("/second/ai/inference"):
        assert workload["max_rate_hz"] == float("inf")
        assert workload["operating_point"] in ([], [0])
    hottest = max(
        reading["value"]
        for state in states
        for reading in state["readings"]
        if reading["role"] == "control"
    )
    assert hottest > 80
