"""What held frames up: cause, stage and milliseconds of faults in a simulated pipeline."""

from __future__ import annotations

import dataclasses

import pytest

from attribution_simulation import (
    PERIOD_MS,
    PID,
    STAGES,
    START_NS,
    USUAL_MS,
    Extra,
    Pipeline,
    at,
    holds_in,
    ns,
    statistics,
    third,
)
from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.observe.attribution.cause import Cause, Diagnosis
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Baseline, Observation

FRAMES = 120
PROCESS = f"process {PID}"
QUIET = statistics([])


def diagnosis(
    timings: list[StageTiming],
    *others: ProcessStatistics,
    reports: tuple[PlatformReport, ...] = (),
    baseline: Baseline | None = None,
) -> Diagnosis:
    return diagnose(Observation(timings, others or (QUIET,), reports), baseline)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ms", [4.0, 20.0])
@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("cpu", Cause.SLOW_PROCESSING),
        ("blocked", Cause.WAITING),
        ("run_queue", Cause.BUSY_CORE),
        ("publish", Cause.SLOW_SUBSCRIBER),
        ("publish_queue", Cause.BUSY_CORE),
        ("way", Cause.TRANSPORT),
    ],
)
def test_each_cause_at_each_stage(stage: str, ms: float, kind: str, cause: Cause) -> None:
    if kind == "cpu":
        ms = max(ms, 1.2 * USUAL_MS[stage])  # see the test of a stage that is hardly slower
    found = diagnosis(at(stage, **{kind: ms})).findings
    assert [finding.cause for finding in found] == [cause]
    assert stage in found[0].subject or (kind == "publish" and found[0].nodes[0] == f"/ai/{stage}")
    # A third of the frames is late by so much; where the stage is busy then, the next frame waits.
    assert ms / 3 * 0.9 < found[0].ms < 2 * ms / 3 * 1.1
    assert found[0].frames >= FRAMES / 3


@pytest.mark.parametrize(("share", "is_found"), [(0.29, False), (0.38, True)])
def test_computing_varies_with_what_runs_beside_it(share: float, is_found: bool) -> None:
    """Other programs use the caches, and the other hardware thread of the core."""
    found = diagnosis(at("inference", cpu=3 * share * USUAL_MS["inference"])).findings
    assert [each.cause for each in found] == [Cause.SLOW_PROCESSING] * is_found


@pytest.mark.parametrize("seed", range(20))
def test_nothing_in_a_clean_window(seed: int) -> None:
    result = diagnosis(Pipeline().run(seed=seed))
    assert not result.findings
    assert result.frames == FRAMES
    # From the end of the first stage of the first frame, to that of the last one of the last.
    length_ms = (FRAMES - 1) * PERIOD_MS + USUAL_MS["inference"] + USUAL_MS["decode"]
    assert result.window_s == pytest.approx(length_ms / 1e3, abs=0.002)
    assert result.summary.startswith("nothing held the 120 frames")


class TestInterpreterLock:
    def test_a_hold_explains_the_wait(self) -> None:
        timings = at("inference", blocked=25.0)
        holds = holds_in(timings, "inference", 25.0, third)
        found = diagnosis(timings, statistics(holds)).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.INTERPRETER_LOCK, PROCESS)]
        assert "computed" in found[0].evidence

    def test_a_sleeping_holder_is_told_from_a_running_one(self) -> None:
        timings = at("decode", blocked=25.0)
        holds = [
            dataclasses.replace(hold, cpu_ms=0.5)
            for hold in holds_in(timings, "decode", 25.0, third)
        ]
        found = diagnosis(timings, statistics(holds)).findings
        assert found[0].cause is Cause.INTERPRETER_LOCK
        assert "slept" in found[0].evidence

    def test_many_short_waits_explain_it_too(self) -> None:
        """Python code in another thread keeps the lock for 0.5 ms, again and again."""
        timings = at("inference", blocked=12.0)
        holds = [Hold(START_NS + ns(10.0 * n), 0.6, 0.0, 9.0) for n in range(390)]
        found = diagnosis(timings, statistics(holds)).findings
        assert found[0].cause is Cause.INTERPRETER_LOCK

    def test_holds_at_other_times_do_not_explain_it(self) -> None:
        timings = at("inference", blocked=12.0)
        holds = [Hold(START_NS - ns(500.0) + n, 5.0, 0.0, 5.0) for n in range(30)]
        assert diagnosis(timings, statistics(holds)).findings[0].cause is Cause.WAITING

    def test_holds_of_another_process_do_not_explain_it(self) -> None:
        timings = at("inference", blocked=25.0)
        holds = holds_in(timings, "inference", 25.0, third)
        other = dataclasses.replace(statistics(holds), nodes=("/ai/other",), pid=1)
        assert diagnosis(timings, QUIET, other).findings[0].cause is Cause.WAITING

    def test_two_monitors_of_one_process_count_once(self) -> None:
        """25 ms of waiting, of which the lock explains 12 ms."""
        timings = at("inference", blocked=25.0)
        one = statistics(holds_in(timings, "inference", 12.0, third))
        shares = [
            {found.cause: found.ms for found in diagnosis(timings, *monitors).findings}
            for monitors in ((one,), (one, dataclasses.replace(one, begin_ns=one.begin_ns + 1)))
        ]
        assert shares[0] == shares[1]
        assert {*shares[0]} == {Cause.INTERPRETER_LOCK, Cause.WAITING}

    def test_a_wait_for_a_core_is_not_the_lock(self) -> None:
        timings = at("inference", publish=25.0)
        holds = [
            Hold(timing.ended_ns, 25.0, 25.0, 0.0)
            for timing in timings
            if timing.stage == "inference" and (timing.publish_ms or 0.0) > 20.0
        ]
        found = diagnosis(timings, statistics(holds)).findings
        assert [(each.cause, each.subject) for each in found] == [
            (Cause.BUSY_CORE, "/ai/inference")
        ]


def test_a_stopped_process() -> None:
    timings = at("decode", blocked=60.0)
    holds = [
        dataclasses.replace(hold, is_stopped=True, cpu_ms=0.0)
        for hold in holds_in(timings, "decode", 60.0, third)
    ]
    found = diagnosis(timings, statistics(holds)).findings
    assert [(each.cause, each.subject) for each in found] == [(Cause.PROCESS_STOPPED, PROCESS)]


def test_page_faults_explain_computing() -> None:
    found = diagnosis(at("decode", cpu=12.0, faults=6000)).findings
    assert [(each.cause, each.subject) for each in found] == [(Cause.PAGE_FAULTS, "/ai/decode")]
    assert "6000 page faults" in found[0].evidence


def test_few_page_faults_do_not() -> None:
    found = diagnosis(at("decode", cpu=12.0, faults=300)).findings
    assert found[0].cause is Cause.SLOW_PROCESSING
    assert all(each.cause is not Cause.PAGE_FAULTS or each.ms < 0.4 for each in found)


class TestThrottling:
    @staticmethod
    def reports(throttling: tuple[str, ...], level: DirectiveLevel) -> tuple[PlatformReport, ...]:
        state = PlatformState("board", (), START_NS)
        return tuple(
            PlatformReport(state, None, throttling, level, "", START_NS + ns(500.0 * n))
            for n in range(10)
        )

    def test_slow_computing_while_the_machine_throttles(self) -> None:
        reports = self.reports(("cooling/cpu is 2",), DirectiveLevel.FULL)
        found = diagnosis(at("inference", cpu=15.0), reports=reports).findings
        assert [(each.cause, each.subject) for each in found] == [(Cause.THROTTLING, "machine")]
        assert "cooling/cpu is 2" in found[0].evidence

    @pytest.mark.parametrize(
        ("value", "throttle", "cause"),
        [
            (95.0, 95.0, Cause.THROTTLING),
            (94.9, 95.0, Cause.SLOW_PROCESSING),
            (99.0, None, Cause.SLOW_PROCESSING),
        ],
    )
    def test_a_temperature_at_which_the_machine_throttles(
        self, value: float, throttle: float | None, cause: Cause
    ) -> None:
        reading = Reading(
            "zone/cpu",
            Quantity.TEMPERATURE,
            value,
            "",
            START_NS,
            role=Role.CONTROL,
            throttle=throttle,
        )
        reports = tuple(
            dataclasses.replace(each, state=PlatformState("board", (reading,), START_NS))
            for each in self.reports((), DirectiveLevel.FULL)
        )
        found = diagnosis(at("inference", cpu=15.0), reports=reports).findings
        assert found[0].cause is cause
        assert ("zone/cpu was at 95.0" in found[0].evidence) == (cause is Cause.THROTTLING)

    def test_slow_computing_while_it_does_not(self) -> None:
        reports = self.reports((), DirectiveLevel.FULL)
        found = diagnosis(at("inference", cpu=15.0), reports=reports).findings
        assert found[0].cause is Cause.SLOW_PROCESSING

    def test_a_rate_that_the_platform_manager_limits(self) -> None:
        timings = at("inference", dropped="rate_limited")  # type: ignore[arg-type]
        limited = self.reports((), DirectiveLevel.REDUCED)
        assert diagnosis(timings, reports=limited).findings[0].cause is Cause.THROTTLING
        free = diagnosis(timings, reports=self.reports((), DirectiveLevel.FULL)).findings[0]
        assert (free.cause, free.parameter) == (Cause.DROPS, "minimum_rate_hz")


def test_a_slow_callback_keeps_the_executor_from_receiving() -> None:
    timings = Pipeline().run(
        lambda frame, stage: (
            Extra(way=30.0, receive=30.0)
            if stage == "decode" and third(frame)
            else Extra(receive=0.5 if stage == "decode" else 0.0)
        )
    )
    found = diagnosis(timings).findings
    assert (found[0].cause, found[0].subject) == (Cause.SLOW_CALLBACK, PROCESS)
    assert found[0].nodes == ("/ai/decode",)


def test_lost_messages() -> None:
    timings = at("inference", lambda frame: frame % 20 == 0, lost=2)
    found = diagnosis(timings).findings
    assert [each.cause for each in found] == [Cause.LOST_MESSAGES]
    assert found[0].subject == "/ai/preprocess to /ai/inference"
    # 12 of 120 frames are missing, each for a period.
    assert found[0].ms == pytest.approx(12 * PERIOD_MS / FRAMES)


@pytest.mark.parametrize(
    ("reason", "parameter"),
    [("too_old", "max_age_ms"), ("invalid", ""), ("no_image", "history")],
)
def test_drops_name_their_reason(reason: str, parameter: str) -> None:
    found = diagnosis(at("decode", lambda frame: frame % 10 == 0, dropped=reason)).findings  # type: ignore[arg-type]
    assert [(each.cause, each.subject) for each in found] == [(Cause.DROPS, "/ai/decode")]
    assert reason in found[0].evidence
    assert found[0].parameter == parameter


def test_frames_that_do_not_arrive() -> None:
    timings = [
        each
        for each in Pipeline().run()
        if each.stage != "decode" or (each.stamp_ns // ns(PERIOD_MS)) % 4
    ]
    found = diagnosis(timings).findings
    assert [(each.cause, each.subject) for each in found] == [
        (Cause.DROPS, "/ai/inference to /ai/decode")
    ]


def test_a_stage_that_follows_only_sometimes_is_no_loss() -> None:
    timings = [
        each
        for each in Pipeline().run()
        if each.stage != "decode" or not (each.stamp_ns // ns(PERIOD_MS)) % 10
    ]
    assert not diagnosis(timings).findings


def test_an_overlay_need_not_draw_every_frame() -> None:
    timings = Pipeline().run()
    timings += [
        each._replace(
            stage="overlay",
            node="/ai/overlay",
            process_ms=0.5,
            queue_ms=0.0,
            ended_ns=each.published_ns + ns(0.6),
        )
        for each in timings
        if each.stage == "decode" and (each.stamp_ns // ns(PERIOD_MS)) % 2
    ]
    assert not diagnosis(timings).findings


class TestBaseline:
    def test_a_fault_in_all_frames_needs_a_baseline(self) -> None:
        slow = at("inference", lambda frame: True, cpu=10.0)
        assert not diagnosis(slow).findings
        usual = Baseline.of(Observation(Pipeline().run(seed=9)))
        found = diagnosis(slow, baseline=usual).findings
        assert [(each.cause, each.subject) for each in found] == [
            (Cause.SLOW_PROCESSING, "/ai/inference")
        ]
        assert found[0].ms == pytest.approx(10.0, abs=1.0)

    def test_the_usual_window_is_clean(self) -> None:
        usual = Baseline.of(Observation(Pipeline().run(seed=9)))
        assert not diagnosis(Pipeline().run(seed=4), baseline=usual).findings

    def test_waiting_for_a_subscriber_is_never_normal(self) -> None:
        found = diagnosis(at("inference", lambda frame: True, publish=12.0)).findings
        assert found[0].cause is Cause.SLOW_SUBSCRIBER


def test_two_causes_are_ranked_by_milliseconds() -> None:
    timings = Pipeline().run(
        lambda frame, stage: Extra(
            cpu=17.0 if stage == "inference" and frame % 3 == 0 else 0.0,
            blocked=5.0 if stage == "decode" and frame % 3 == 1 else 0.0,
        )
    )
    found = diagnosis(timings).findings
    assert [(each.cause, each.subject) for each in found] == [
        (Cause.SLOW_PROCESSING, "/ai/inference"),
        (Cause.WAITING, "/ai/decode"),
    ]
