"""Clocks and stamps that move are told from frames that are late."""

from __future__ import annotations

import dataclasses

import pytest

from attribution_simulation import PERIOD_MS, START_NS, Extra, Pipeline, ns, statistics
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.attribution.cause import Cause, Diagnosis
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

QUIET = statistics([])
FRAMES_MS = 120 * PERIOD_MS


def diagnosis(timings: list[StageTiming], process: ProcessStatistics = QUIET) -> Diagnosis:
    return diagnose(Observation(timings, (process,)))


class TestClocks:
    def test_a_step_of_the_system_clock(self) -> None:
        timings = Pipeline().run(lambda frame, stage: Extra(clock_ms=40.0 * (frame >= 60)))
        found = diagnosis(timings).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "system clock")]
        # Half of the frames have an age that is wrong by 40 ms.
        assert found[0].ms == pytest.approx(20.0, abs=0.7)

    @pytest.mark.parametrize("frame", [25, 36, 60, 90])
    def test_a_large_step_is_no_simulated_clock(self, frame: int) -> None:
        timings = Pipeline().run(lambda each, stage: Extra(clock_ms=900.0 * (each >= frame)))
        found = diagnosis(timings)
        assert [(each.cause, each.subject) for each in found.findings] == [
            (Cause.CLOCK, "system clock")
        ]
        assert not any("use_sim_time" in text for text in found.unknown)

    @pytest.mark.parametrize("ms", [-40.0, 40.0])
    def test_a_step_of_one_nodes_clock(self, ms: float) -> None:
        timings = Pipeline().run(
            lambda frame, stage: Extra(clock_ms=ms if stage == "decode" and frame >= 60 else 0.0)
        )
        found = diagnosis(timings).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "/ai/decode")]

    @pytest.mark.parametrize("ms", [-30, 30])
    def test_a_step_of_the_sources_stamps(self, ms: int) -> None:
        timings = [
            each._replace(stamp_ns=each.stamp_ns + ns(ms), age_ms=(each.age_ms or 0.0) - ms)
            if each.ended_ns > START_NS + ns(60 * PERIOD_MS)
            else each
            for each in Pipeline().run()
        ]
        found = diagnosis(timings).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "stamps of camera")]

    def test_a_step_that_the_sources_clock_follows(self) -> None:
        """Only the frames on their way have a wrong age; yet the step is told."""
        step_ns, moved_ms = START_NS + ns(60.2 * PERIOD_MS), 40
        timings = []
        for each in Pipeline().run():
            captured_ns = each.ended_ns - ns(each.age_ms or 0.0)
            age_ms = (each.age_ms or 0.0) + moved_ms * (captured_ns < step_ns <= each.ended_ns)
            stamp_ns = each.stamp_ns + ns(moved_ms) * (captured_ns >= step_ns)
            timings.append(each._replace(age_ms=age_ms, stamp_ns=stamp_ns))
        step = dataclasses.replace(QUIET, clock_step_ms=float(moved_ms))
        found = diagnosis(timings, step).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "system clock")]
        assert found[0].ms < 1.0
        assert "moved by 40 ms" in found[0].evidence

    def test_slewing_is_no_step(self) -> None:
        timings = [
            each._replace(stamp_ns=each.stamp_ns + round((each.ended_ns - START_NS) * 500e-6))
            for each in Pipeline().run(frames=600)
        ]
        assert not diagnosis(timings).findings

    def test_stamps_that_cannot_be_used(self) -> None:
        timings = [
            each._replace(age_ms=None, clock_fault="stamp_in_past") for each in Pipeline().run()
        ]
        found = diagnosis(timings).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "stamps of camera")]
        assert "stamp_in_past" in found[0].evidence

    def test_frames_without_stamps_are_told_apart(self) -> None:
        """As in simulated time without a clock: one cause, of every frame, with its own remedy."""
        timings = [
            each._replace(age_ms=None, clock_fault="stamp_zero", stamp_ns=0)
            for each in Pipeline().run()
        ]
        found = diagnosis(timings[1:]).findings
        assert [each.cause for each in found] == [Cause.CLOCK]
        assert found[0].frames >= 119
        assert found[0].worst_ms < 2 * PERIOD_MS
        assert "header.stamp" in found[0].hint

    @pytest.mark.parametrize("rate", [0.5, 2.0])
    def test_simulated_time_at_another_rate_is_no_step(self, rate: float) -> None:
        """Then capture stamps and ages are on that clock; it is said, and nothing is guessed."""
        timings = [
            each._replace(
                stamp_ns=round((each.ended_ns - ns(each.age_ms or 0.0)) * rate),
                age_ms=(each.age_ms or 0.0) * rate,
            )
            for each in Pipeline().run()
        ]
        result = diagnosis(timings)
        assert not result.findings
        assert any(f"runs at {rate:.0%}" in text for text in result.unknown)

    def test_stamps_that_go_back(self) -> None:
        """A recording that begins again, with the clock of the recording."""
        timings = Pipeline().run()
        again = [each._replace(ended_ns=each.ended_ns + ns(FRAMES_MS)) for each in timings]
        found = diagnosis([*timings, *again]).findings
        assert [each.cause for each in found] == [Cause.CLOCK]

    def test_a_simulated_clock_that_is_a_little_slow(self) -> None:
        """So that neighboring frames seem to share a shift."""
        timings = [
            each._replace(
                stamp_ns=round((each.ended_ns - ns(each.age_ms or 0.0)) * 0.97),
                age_ms=(each.age_ms or 0.0) * 0.97,
            )
            for each in Pipeline().run(period_ms=16.0, frames=240)
        ]
        assert Cause.CLOCK not in {each.cause for each in diagnosis(timings).findings}
