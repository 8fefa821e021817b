"""Latency figures over a sliding window."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.runtime.latency import Percentiles, StageLatency, StageTiming
from edge_inference.observe import quantile_sketch
from edge_inference.observe.latency_log import LatencyLog

SECOND = 1_000_000_000


@pytest.fixture(params=[False, True], ids=["installed", "without fastdigest"])
def no_digest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With what is installed, and without fastdigest."""
    if request.param:
        monkeypatch.setattr(quantile_sketch, "_find_digest_class", lambda: None)
    return bool(request.param)


def timing(stage: str = "decode", ms: float | None = 2.0, dropped: str = "") -> StageTiming:
    return StageTiming(stage, f"/ai/{stage}", 0.5, ms, ms, dropped)


def only(log: LatencyLog, now_ns: int) -> StageLatency:
    (stage,) = log.report(now_ns).stages
    return stage


def test_without_records_there_are_no_figures() -> None:
    assert Percentiles.of([]) == Percentiles(None, None, None, None, None, None)
    report = LatencyLog(5.0).report(SECOND)
    assert (report.window_s, report.stages) == (5.0, ())


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_equal_those_of_numpy(values: list[float]) -> None:
    found = Percentiles.of(values)
    assert found.p50 == pytest.approx(np.percentile(values, 50))
    assert found.p99 == pytest.approx(np.percentile(values, 99))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.max == max(values)


def test_stages_are_separate_and_in_order_of_appearance() -> None:
    log = LatencyLog()
    for stage, ms in (("b", 1.0), ("a", 2.0), ("b", 3.0)):
        log.add(timing(stage, ms), SECOND)
    report = log.report(2 * SECOND)
    assert [(s.stage, s.node, s.count, s.process.mean) for s in report.stages] == [
        ("b", "/ai/b", 2, 2.0),
        ("a", "/ai/a", 1, 2.0),
    ]


def test_frames_before_the_window_count_only_in_the_total() -> None:
    log = LatencyLog(2.0, started_ns=0)
    for second in range(1, 6):
        log.add(timing(ms=float(second)), second * SECOND)
    stage = only(log, 5 * SECOND)
    assert (stage.count, stage.window_count) == (5, 3)
    assert stage.process.mean == 4.0
    assert stage.rate_hz == 1.5


def test_an_empty_window_has_a_rate_and_no_figures() -> None:
    log = LatencyLog(1.0)
    log.add(timing(), SECOND)
    stage = only(log, 10 * SECOND)
    assert (stage.count, stage.window_count, stage.rate_hz) == (1, 0, 0.0)
    assert stage.process == stage.queue == stage.age == Percentiles()


def test_drops_count_by_reason_and_not_as_frames() -> None:
    log = LatencyLog()
    for reason in ("too_old", "superseded", "too_old"):
        log.add(timing(ms=None, dropped=reason), SECOND)
    stage = only(log, SECOND)
    assert stage.drops == {"too_old": 2, "superseded": 1}
    assert (stage.count, stage.rate_hz, stage.process) == (0, 0.0, Percentiles())


def test_an_unknown_age_is_left_out() -> None:
    log = LatencyLog()
    log.add(StageTiming("s", "/s", 0.5, 1.0, None), SECOND)
    log.add(StageTiming("s", "/s", 0.5, 1.0, 8.0), SECOND)
    assert only(log, SECOND).age.mean == 8.0


@pytest.mark.parametrize(
    ("started_ns", "rate"),
    [(None, 3.0), (0, 1.5), (SECOND, 3.0)],
)
def test_the_rate_of_a_new_log_uses_its_age(started_ns: int | None, rate: float) -> None:
    log = LatencyLog(10.0, started_ns)
    for _ in range(3):
        log.add(timing(), SECOND)
    assert only(log, 2 * SECOND).rate_hz == rate


def test_the_whole_run(no_digest: bool) -> None:
    log = LatencyLog(None, started_ns=0)
    for tenth in range(1, 5001):
        log.add(timing(ms=float(tenth)), tenth * SECOND // 10)
    report = log.report(500 * SECOND)
    (stage,) = report.stages
    assert report.window_s == 500.0
    assert (stage.count, stage.window_count, stage.rate_hz) == (5000, 5000, 10.0)
    assert (stage.process.mean, stage.process.max) == (2500.5, 5000.0)
    assert stage.process.p99 == pytest.approx(4950, abs=15)


def test_a_window_that_shrinks() -> None:
    log = LatencyLog(10.0)
    for second in range(1, 11):
        log.add(timing(), second * SECOND)
    log.window_s = 2.0
    report = log.report(10 * SECOND)
    assert (report.window_s, report.stages[0].window_count) == (2.0, 3)


def test_the_number_of_stages_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatencyLog, "MAX_STAGES", 3)
    log = LatencyLog(10.0)
    for second in range(5):
        for name in ("a", "b", "c", f"made-up-{second}"):
            assert log.add(timing(name), second * SECOND) == (name in "abc")
    assert [each.stage for each in log.report(5 * SECOND).stages] == ["a", "b", "c"]
    assert not log.add(timing("new"), 13 * SECOND)
    # A new stage replaces one that has been silent for a window.
    for second in range(5, 20):
        log.add(timing("a"), second * SECOND)
        log.add(timing("c"), second * SECOND)
    assert log.add(timing("new"), 20 * SECOND)
    assert [each.stage for each in log.report(20 * SECOND).stages] == ["a", "c", "new"]


def test_further_drop_reasons_count_as_other() -> None:
    log = LatencyLog()
    for number in range(1000):
        log.add(timing(ms=None, dropped=f"reason {number}"), SECOND)
    drops = only(log, SECOND).drops
    assert len(drops) <= 33
    assert sum(drops.values()) == 1000


def test_the_window_moves_in_slots(no_digest: bool) -> None:
    """After a change the percentiles follow within a window and a slot."""
    log = LatencyLog(10.0, started_ns=0)
    for hundredth in range(1, 6001):
        slow = 40.0 if hundredth >= 3000 else 4.0
        log.add(timing(ms=slow), hundredth * SECOND // 100)
        if hundredth == 3400:
            assert only(log, 34 * SECOND).process.p50 == 4.0
    stage = only(log, 60 * SECOND)
    assert stage.process.p50 == stage.process.p99 == 40.0
    assert 1000 <= stage.window_count <= 1100
    assert stage.rate_hz == pytest.approx(100, rel=0.01)


def test_lost_messages_are_counts_beside_the_frames() -> None:
    log = LatencyLog()
    log.add(timing()._replace(lost=3), SECOND)
    log.add(timing(ms=None, dropped="superseded")._replace(lost=2), SECOND)
    stage = only(log, SECOND)
    assert (stage.count, stage.drops) == (1, {"lost": 5, "superseded": 1})


def test_the_age_at_publish_and_the_deadline() -> None:
    log = LatencyLog(deadline_ms=50.0)
    for age, publish in ((40.0, 5.0), (48.0, 3.0), (49.0, None), (None, 90.0), (60.0, 1.0)):
        log.add(StageTiming("s", "/s", 0.5, 1.0, age, publish_ms=publish), SECOND)
    report = log.report(SECOND)
    (stage,) = report.stages
    assert report.deadline_ms == 50.0
    assert stage.deadline_misses == 2  # 51 and 61; an unknown age is none
    assert stage.published_age.max == 61.0
    assert stage.published_age.mean == pytest.approx((45 + 51 + 49 + 61) / 4)
    assert stage.publish.max == 90.0


def test_times_that_only_some_frames_have() -> None:
    log = LatencyLog()
    log.add(timing(), SECOND)
    assert only(log, SECOND).receive == only(log, SECOND).device == Percentiles()
    log.add(timing()._replace(receive_ms=7.0, device_ms=0.5), SECOND)
    stage = only(log, SECOND)
    assert (stage.receive.p50, stage.receive.max, stage.device.mean) == (7.0, 7.0, 0.5)


def test_clock_faults_are_counted_by_kind_and_limited() -> None:
    log = LatencyLog()
    for number in range(1000):
        fault = "stamp_zero" if number < 10 else f"made up {number}"
        log.add(StageTiming("s", "/s", 0.5, 1.0, None, clock_fault=fault), SECOND)
    faults = only(log, SECOND).clock_faults
    assert faults["stamp_zero"] == 10
    assert len(faults) <= 33
    assert sum(faults.values()) == 1000


def test_many_threads_can_add_records() -> None:
    log = LatencyLog()
    threads = [
        threading.Thread(target=lambda: [log.add(timing(), SECOND) for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert only(log, SECOND).count == 2000
