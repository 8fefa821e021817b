"""What follows from a cause is charged to it, or to nothing that would not help."""

from __future__ import annotations

import dataclasses

import pytest

from attribution_simulation import (
    PERIOD_MS,
    PID,
    START_NS,
    Extra,
    Pipeline,
    ns,
    statistics,
)
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.observe.attribution.cause import Cause, CauseFinding
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

FRAMES = 120
PROCESS = f"process {PID}"
#: Longer than a period.
HELD_MS = 60.0


def findings(timings: list[StageTiming], process: ProcessStatistics) -> list[CauseFinding]:
    return list(diagnose(Observation(timings, [process])).findings)


def faulty_from(frame: int, fault: str, *stages: str) -> list[StageTiming]:
    return [
        each._replace(age_ms=None, clock_fault=fault)
        if each.stage in stages and each.ended_ns > START_NS + ns(frame * PERIOD_MS)
        else each
        for each in Pipeline().run()
    ]


class TestWhichClock:
    @pytest.mark.parametrize("fault", ["stamp_in_future", "stamp_in_past"])
    def test_a_stamp_that_other_nodes_accept(self, fault: str) -> None:
        found = findings(faulty_from(60, fault, "decode"), statistics([]))
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "/ai/decode")]

    def test_a_stamp_that_no_node_accepts(self) -> None:
        timings = faulty_from(60, "stamp_in_past", "preprocess", "inference", "decode")
        found = findings(timings, statistics([]))
        assert [(each.cause, each.subject) for each in found] == [(Cause.CLOCK, "stamps of camera")]

    def test_a_clock_that_a_process_saw_step(self) -> None:
        timings = faulty_from(60, "stamp_in_past", "preprocess", "inference", "decode")
        process = dataclasses.replace(statistics([]), clock_step_ms=7_200_000.0)
        assert findings(timings, process)[0].subject == "system clock"

    def test_stamps_that_go_back_are_those_of_the_source(self) -> None:
        found = findings(faulty_from(60, "stamp_went_back", "preprocess"), statistics([]))
        assert [each.subject for each in found] == ["stamps of camera"]


class TestLosses:
    """Messages overflow the queue of a process that does not receive."""

    TIMINGS = Pipeline().run(
        lambda frame, stage: Extra(lost=2 * (stage == "preprocess" and frame % 20 == 10))
    )

    def found(self, process: ProcessStatistics) -> tuple[Cause, str]:
        first = findings(self.TIMINGS, process)[0]
        # 12 messages, each for the mean time between two: 120 arrived in 119 periods.
        assert first.ms == pytest.approx(12 * 119 * PERIOD_MS / 131 / FRAMES, rel=0.01)
        return first.cause, first.subject

    def hold_before_each(self, **kinds: bool) -> list[Hold]:
        arrivals = [each.arrived_ns for each in self.TIMINGS if each.lost]
        return [Hold(at - ns(HELD_MS), HELD_MS, 0.0, HELD_MS, **kinds) for at in arrivals]

    def test_nothing_held_the_process(self) -> None:
        assert self.found(statistics([])) == (Cause.LOST_MESSAGES, "source to /ai/preprocess")

    def test_a_callback_held_the_executor(self) -> None:
        process = dataclasses.replace(statistics([]), executor_ms=HELD_MS)
        assert self.found(process) == (Cause.SLOW_CALLBACK, PROCESS)

    def test_a_short_callback_loses_nothing(self) -> None:
        process = dataclasses.replace(statistics([]), executor_ms=PERIOD_MS / 2)
        assert self.found(process)[0] is Cause.LOST_MESSAGES

    def test_the_lock_was_held(self) -> None:
        """Its callbacks wait as well, which is no slow callback."""
        process = dataclasses.replace(statistics(self.hold_before_each()), executor_ms=HELD_MS)
        assert self.found(process) == (Cause.INTERPRETER_LOCK, PROCESS)

    def test_the_process_was_stopped(self) -> None:
        process = statistics(self.hold_before_each(is_stopped=True))
        assert self.found(process) == (Cause.PROCESS_STOPPED, PROCESS)

    def test_a_hold_at_another_time_loses_nothing(self) -> None:
        holds = [
            dataclasses.replace(hold, begin_ns=hold.begin_ns + ns(10 * PERIOD_MS))
            for hold in self.hold_before_each()
        ]
        assert self.found(statistics(holds))[0] is Cause.LOST_MESSAGES


def test_the_load_of_a_machine_is_one_cause() -> None:
    waits = {"preprocess": 2.0, "inference": 6.0, "decode": 1.0}
    timings = Pipeline().run(lambda frame, stage: Extra(run_queue=waits[stage]))
    found = findings(timings, statistics([]))
    assert [(each.cause, each.subject) for each in found] == [(Cause.BUSY_CORE, "/ai/inference")]
    assert found[0].ms == pytest.approx(sum(waits.values()), rel=0.02)
    assert found[0].nodes == ("/ai/inference", "/ai/preprocess", "/ai/decode")
    assert "/ai/preprocess" in found[0].evidence


def test_a_core_that_is_busy_while_publishing_is_no_slow_subscriber() -> None:
    """Of the 15 ms in which every second frame was published, its thread was ready in 9."""
    timings = Pipeline().run(
        lambda frame, stage: (
            Extra(publish=6.0, publish_queue=9.0)
            if stage == "preprocess" and frame % 2 == 0
            else Extra()
        )
    )
    found = {(each.cause, each.subject): each for each in findings(timings, statistics([]))}
    assert found.keys() == {
        (Cause.BUSY_CORE, "/ai/preprocess"),
        (Cause.SLOW_SUBSCRIBER, "/ai/tensor"),
    }
    busy = found[Cause.BUSY_CORE, "/ai/preprocess"]
    assert busy.ms == pytest.approx(9.0 / 2, rel=0.05)
    assert "in publishing up to 9.0 ms" in busy.evidence
    assert found[Cause.SLOW_SUBSCRIBER, "/ai/tensor"].ms == pytest.approx(6.0 / 2, rel=0.05)


def test_a_core_that_is_always_busy_while_publishing_is_never_normal() -> None:
    """And it makes nothing else normal: a subscriber takes 5 ms of every second frame."""
    timings = Pipeline().run(
        lambda frame, stage: (
            Extra(publish_queue=8.0, publish=5.0 * (frame % 2)) if stage == "decode" else Extra()
        )
    )
    busy, slow = findings(timings, statistics([]))
    assert (busy.cause, busy.subject) == (Cause.BUSY_CORE, "/ai/decode")
    assert busy.ms == pytest.approx(8.0, rel=0.02)
    assert slow.cause is Cause.SLOW_SUBSCRIBER
    assert slow.ms == pytest.approx(5.0 / 2, rel=0.02)


@pytest.mark.parametrize(
    ("queued_ms", "cause"), [(None, Cause.BUSY_CORE), (0.0, Cause.SLOW_SUBSCRIBER)]
)
def test_the_thread_that_publishes_knows_better_than_the_heartbeat(
    queued_ms: float | None, cause: Cause
) -> None:
    timings = Pipeline().run(
        lambda frame, stage: Extra(publish=12.0 * (stage == "preprocess" and frame % 2 == 0))
    )
    late = [each for each in timings if each.stage == "preprocess"][::2]
    holds = [Hold(each.ended_ns + 1, 11.9, 11.9, 0.0) for each in late]
    known = [each._replace(publish_run_queue_ms=queued_ms) for each in timings]
    assert [each.cause for each in findings(known, statistics(holds))] == [cause]


def test_the_load_of_another_machine_is_another_cause() -> None:
    timings = [
        each._replace(clock_id=each.clock_id + (each.stage == "decode"))
        for each in Pipeline().run(lambda frame, stage: Extra(run_queue=5.0))
    ]
    found = [each for each in findings(timings, statistics([])) if each.cause is Cause.BUSY_CORE]
    assert sorted(each.subject for each in found) in (
        ["/ai/decode", "/ai/inference"],
        ["/ai/decode", "/ai/preprocess"],
    )


def test_a_source_that_stood_still_with_the_process() -> None:
    """Nothing was on its way; what is missing are the frames of the time."""
    stopped = range(40, 46)
    begin_ns, stopped_ms = START_NS + ns(39.5 * PERIOD_MS), 6 * PERIOD_MS
    first_ns, last_ns = (START_NS + ns((index - 0.5) * PERIOD_MS) for index in (40, 46))
    timings = [
        each
        for each in Pipeline().run()
        if not first_ns < each.ended_ns - ns(each.age_ms or 0.0) + 1_000_000 < last_ns
    ]
    hold = Hold(begin_ns, stopped_ms, 0.0, 0.0, is_stopped=True)
    found = findings(timings, statistics([hold]))
    assert [(each.cause, each.subject) for each in found] == [(Cause.PROCESS_STOPPED, PROCESS)]
    frames = FRAMES - len(stopped)
    assert found[0].ms == pytest.approx(len(stopped) * PERIOD_MS / frames, rel=0.05)


def test_waits_for_a_core_are_no_contention_for_the_lock() -> None:
    """Each heartbeat came late because of a busy core, and got the lock at once."""
    timings = Pipeline().run(
        lambda frame, stage: Extra(publish=5.0 * (stage == "preprocess" and frame % 2 == 0))
    )
    holds = [Hold(START_NS + ns(10.0 * beat), 0.43, 0.4, 1.0) for beat in range(396)]
    causes = [each.cause for each in findings(timings, statistics(holds))]
    assert causes == [Cause.SLOW_SUBSCRIBER]


def test_a_short_hold_does_not_explain_a_long_wait() -> None:
    """The lock was held for 1 ms while the stage waited for a device for 12 ms."""
    wait_ms, hold_ms = 12.0, 1.0
    timings = Pipeline().run(
        lambda frame, stage: Extra(blocked=wait_ms * (stage == "inference" and frame % 2 == 0))
    )
    waiting = [each for each in timings if each.stage == "inference"][::2]
    holds = [Hold(each.started_ns + ns(6.0), hold_ms, 0.0, hold_ms) for each in waiting]
    found = {each.cause: each.ms for each in findings(timings, statistics(holds))}
    # Seen at a random moment of its duration, a hold is on average twice as long as noticed.
    assert found[Cause.WAITING] == pytest.approx((wait_ms - 2 * hold_ms) / 2, rel=0.05)
    assert found[Cause.INTERPRETER_LOCK] == pytest.approx(hold_ms, rel=0.05)


def test_a_hold_before_a_frame_was_late_on_its_way_does_not_explain_it() -> None:
    late_ms = 15.0
    timings = Pipeline().run(
        lambda frame, stage: Extra(way=late_ms * (stage == "inference" and frame % 3 == 0))
    )
    late = [each for each in timings if each.stage == "inference"][::3]
    before = [Hold(each.arrived_ns - ns(1.45 * late_ms), 6.0, 0.0, 6.0) for each in late]
    assert [each.cause for each in findings(timings, statistics(before))] == [Cause.TRANSPORT]
    during = [Hold(each.arrived_ns - ns(late_ms), late_ms, 0.0, late_ms) for each in late]
    causes = [each.cause for each in findings(timings, statistics(during))]
    assert causes == [Cause.INTERPRETER_LOCK]


@pytest.mark.parametrize(("mean_ms", "is_told"), [(2.7, False), (3.3, True)])
def test_a_small_part_of_a_long_frame_is_not_told(mean_ms: float, is_told: bool) -> None:
    """A cause counts from 3 % of the usual time of processing, here 100 ms."""
    timings = [
        StageTiming(
            "inference",
            "/ai/inference",
            queue_ms=0.0,
            process_ms=100.0 + 10 * mean_ms * (frame % 10 == 0),
            age_ms=None,
            stamp_ns=frame + 1,
            ended_ns=START_NS + ns(200.0 * frame),
            clock_id=1,
            cpu_ms=100.0,
            run_queue_ms=10 * mean_ms * (frame % 10 == 0),
        )
        for frame in range(100)
    ]
    causes = [each.cause for each in findings(timings, statistics([]))]
    assert causes == ([Cause.BUSY_CORE] if is_told else [])


def test_a_backlog_that_is_worked_off_is_no_step_of_the_stamps() -> None:
    """The frames wait 30 ms on their way, then the source pauses and they do not."""
    timings = []
    for each in Pipeline().run():
        late_ms = 30.0 * (each.ended_ns < START_NS + ns(60 * PERIOD_MS))
        timings.append(
            each._replace(
                stamp_ns=each.stamp_ns - ns(late_ms), age_ms=(each.age_ms or 0.0) + late_ms
            )
        )
    found = findings(timings, statistics([]))
    assert [each.cause for each in found] == [Cause.TRANSPORT]
    assert found[0].ms == pytest.approx(15.0, rel=0.05)


def test_waits_of_an_overloaded_stage_are_its_queueing() -> None:
    """Some frames take longer; without that, the others would have waited just as well."""
    timings = Pipeline().run(
        lambda frame, stage: Extra(cpu=10.0 * (stage == "inference" and frame % 3 == 0)),
        period_ms=8.0,
    )
    waited = sum(each.queue_ms for each in timings if each.stage == "inference")
    first = findings(timings, statistics([]))[0]
    assert (first.cause, first.subject) == (Cause.QUEUEING, "/ai/inference")
    assert first.ms == pytest.approx(waited / FRAMES, rel=0.05)


def test_a_window_cuts_through_frames() -> None:
    """It begins with a frame in the last stage, and ends with one in the first."""
    timings = Pipeline().run(lambda frame, stage: Extra(run_queue=5.0))
    first, last = timings[0].stamp_ns, timings[FRAMES - 1].stamp_ns
    cut = [
        each
        for each in timings
        if (each.stage == "decode" or each.stamp_ns != first)
        and (each.stage == "preprocess" or each.stamp_ns != last)
    ]
    result = diagnose(Observation(cut, [statistics([])]))
    assert result.frames == FRAMES
    assert all(each.frames <= FRAMES for each in result.findings)
