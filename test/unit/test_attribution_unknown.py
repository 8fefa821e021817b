"""Observations with gaps: what is not known is said, and nothing is raised."""

from __future__ import annotations

import pytest

from attribution_simulation import CLOCK_ID, Pipeline, at, ns, statistics
from edge_inference.observe.attribution.cause import Cause
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

FRAMES = 120


class TestWhatIsNotKnown:
    def test_without_any_timings(self) -> None:
        result = diagnose(Observation(()))
        assert (result.findings, result.frames) == ((), 0)
        assert result.unknown == ("everything: no stage published timings",)
        assert result.summary == "no frames in the window"

    def test_without_process_statistics(self) -> None:
        result = diagnose(Observation(Pipeline().run()))
        assert any("interpreter lock" in text for text in result.unknown)
        assert any("throttling" in text for text in result.unknown)

    @pytest.mark.parametrize(
        ("kind", "cause"),
        [
            ("blocked", Cause.WAITING),
            ("run_queue", Cause.BUSY_CORE),
            ("publish", Cause.SLOW_SUBSCRIBER),
            ("way", Cause.TRANSPORT),
        ],
    )
    def test_other_causes_need_no_process_statistics(self, kind: str, cause: Cause) -> None:
        found = diagnose(Observation(at("inference", **{kind: 15.0}))).findings
        assert [each.cause for each in found] == [cause]
        assert found[0].ms == pytest.approx(15.0 / 3, rel=0.15)

    def test_without_thread_times(self) -> None:
        timings = [
            each._replace(cpu_ms=None, run_queue_ms=None) for each in at("inference", cpu=20.0)
        ]
        result = diagnose(Observation(timings, [statistics([])]))
        assert result.findings[0].cause is Cause.SLOW_PROCESSING
        assert any("cpu_ms" in text for text in result.unknown)

    def test_old_records_without_times_on_the_steady_clock(self) -> None:
        timings = [each._replace(ended_ns=0) for each in Pipeline().run()]
        result = diagnose(Observation(timings, [statistics([])]))
        assert result.frames == 0
        assert any("ended_ns" in text for text in result.unknown)


@pytest.mark.parametrize(
    "changes",
    [
        {"ended_ns": 2**63 - 1},
        {"ended_ns": 1},
        {"queue_ms": 1e12},
        {"process_ms": 1e12},
        {"stamp_ns": 2**63 - 1},
        {"stamp_ns": 0, "age_ms": None},
        {"publish_ms": 1e12},
        {"lost": 2**32 - 1},
        {"frame_id": "x" * 1000, "node": "no slash"},
    ],
)
def test_a_record_with_absurd_times_raises_nothing(changes: dict[str, object]) -> None:
    timings = Pipeline().run()
    odd = timings[100]._replace(**changes)  # type: ignore[arg-type]
    assert diagnose(Observation([*timings, odd], [statistics([])])).frames >= FRAMES


def test_processes_of_several_machines_are_kept_apart() -> None:
    """Each has its own steady clock, so that their times cannot be compared."""
    timings = [
        each._replace(clock_id=CLOCK_ID + 1, ended_ns=each.ended_ns - ns(4e6))
        if each.stage == "decode"
        else each
        for each in Pipeline().run()
    ]
    assert not [
        f
        for f in diagnose(Observation(timings, [statistics([])])).findings
        if f.cause is Cause.TRANSPORT
    ]
