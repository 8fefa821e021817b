"""Latency figures over a sliding window."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.runtime.latency import LatencyLog, Percentiles, StageLatency, StageTiming

SECOND = 1_000_000_000


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


def test_the_rate_of_more_frames_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatencyLog, "MAX_STAGE_FRAMES", 10)
    log = LatencyLog(100.0, started_ns=0)
    for tenth in range(1, 1001):
        log.add(timing(), tenth * SECOND // 10)
    stage = only(log, 100 * SECOND)
    assert (stage.count, stage.window_count) == (1000, 10)
    assert stage.rate_hz == pytest.approx(10, rel=0.2)


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


def test_the_number_of_frames_of_all_stages_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatencyLog, "MAX_FRAMES", 60)
    log = LatencyLog(100.0, started_ns=0)
    for tenth in range(1, 1001):
        log.add(timing("fast"), tenth * SECOND // 10)
        if tenth % 100 == 0:
            log.add(timing("slow"), tenth * SECOND // 10)
    fast, slow = log.report(100 * SECOND).stages
    assert (fast.count, fast.window_count) == (1000, 50)
    assert (slow.count, slow.window_count) == (10, 10)
    assert fast.rate_hz == pytest.approx(10, rel=0.1)
    assert slow.rate_hz == pytest.approx(0.1, rel=0.1)
    log.report(300 * SECOND)
    for _ in range(60):
        log.add(timing("late"), 300 * SECOND)
    assert [each.window_count for each in log.report(300 * SECOND).stages] == [0, 0, 60]


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
