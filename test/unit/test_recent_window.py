"""The diagnosis while a pipeline runs: quick where nothing is wrong, and the same where it is."""

from __future__ import annotations

import dataclasses

import pytest

from attribution_simulation import STAGES, Extra, Pipeline, statistics
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution import recent_window
from edge_inference.observe.attribution.cause import Cause, Diagnosis
from edge_inference.observe.attribution.recent_window import RecentWindow


def run(timings: list[StageTiming], clock_step_ms: float = 0.0) -> Diagnosis:
    window = RecentWindow()
    window.add_statistics(dataclasses.replace(statistics([]), clock_step_ms=clock_step_ms))
    for timing in timings:
        window.add_timing(timing)
    return window.diagnose()


def test_a_clean_window_needs_no_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_window, "diagnose", None)
    result = run(Pipeline().run(seed=3))
    assert (result.findings, result.frames) == ((), 120)
    assert result.window_s == pytest.approx(120 * 0.033, abs=0.1)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Extra(cpu=20.0), Cause.SLOW_PROCESSING),
        (Extra(blocked=4.0), Cause.WAITING),
        (Extra(run_queue=4.0), Cause.BUSY_CORE),
        (Extra(publish=4.0), Cause.SLOW_SUBSCRIBER),
        (Extra(way=8.0), Cause.TRANSPORT),
        (Extra(lost=2), Cause.LOST_MESSAGES),
        (Extra(dropped="invalid"), Cause.DROPS),
    ],
)
def test_each_fault_is_seen(stage: str, fault: Extra, cause: Cause) -> None:
    timings = Pipeline().run(
        lambda frame, name: fault if name == stage and frame % 3 == 0 else Extra()
    )
    assert [found.cause for found in run(timings).findings] == [cause]


def test_frames_that_do_not_arrive_are_seen() -> None:
    timings = [
        each for index, each in enumerate(Pipeline().run()) if each.stage != "decode" or index % 4
    ]
    assert [found.cause for found in run(timings).findings] == [Cause.DROPS]


def test_a_step_of_the_clock_is_seen() -> None:
    assert run(Pipeline().run(), 40.0).findings[0].cause is Cause.CLOCK
    moved = Pipeline().run(lambda frame, stage: Extra(clock_ms=40.0 * (frame >= 60)))
    assert run(moved).findings[0].cause is Cause.CLOCK


def test_nothing_arrived() -> None:
    window = RecentWindow()
    assert window.diagnose().frames == 0


def test_each_window_begins_anew_and_is_bounded() -> None:
    window = RecentWindow()
    for timing in Pipeline().run(frames=1000):
        window.add_timing(timing)
    assert 0 < window.diagnose().frames <= 600
    assert window.diagnose().frames == 0
