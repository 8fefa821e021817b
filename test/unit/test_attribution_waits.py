"""Waits in a queue are charged to what held the stage, and no longer than they took."""

from __future__ import annotations

import pytest

from attribution_simulation import (
    CLOCK_ID,
    START_NS,
    USUAL_MS,
    Extra,
    Pipeline,
    at,
    ns,
    statistics,
    third,
)
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.cause import Cause, Diagnosis
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

FRAMES = 120


def diagnosis(timings: list[StageTiming]) -> Diagnosis:
    return diagnose(Observation(timings, (statistics([]),)))


def test_a_wait_in_the_queue_is_charged_to_what_held_the_stage() -> None:
    """Frames of 80 ms in a period of 33 ms delay their successors: all because of one cause."""
    found = diagnosis(at("inference", blocked=80.0)).findings
    assert [(finding.cause, finding.subject) for finding in found] == [
        (Cause.WAITING, "/ai/inference")
    ]
    # 80 ms in each third frame, and the frames that wait behind it or are superseded.
    assert found[0].ms > 80 / 3
    assert found[0].frames > FRAMES / 3


def test_a_worker_that_is_free_and_does_not_run_waits_for_a_core() -> None:
    timings = [
        StageTiming(
            "decode",
            "/ai/decode",
            queue_ms=12.0 if third(frame) else 0.05,
            process_ms=3.0,
            age_ms=None,
            stamp_ns=frame + 1,
            ended_ns=START_NS + ns(40.0 * frame),
            clock_id=CLOCK_ID,
            cpu_ms=3.0,
            run_queue_ms=0.0,
        )
        for frame in range(60)
    ]
    (found,) = diagnosis(timings).findings
    assert (found.cause, found.subject) == (Cause.BUSY_CORE, "/ai/decode")
    assert found.ms == pytest.approx(12.0 / 3)


def test_a_wait_is_charged_once_and_for_no_longer_than_it_took() -> None:
    """A frame is 12 ms late; with 20 ms between two that take 15, the next ones have to wait."""
    timings = Pipeline().run(
        lambda frame, stage: Extra(blocked=12.0 * (stage == "inference" and frame % 4 == 0)),
        period_ms=20.0,
    )
    (found,) = diagnosis(timings).findings
    assert (found.cause, found.subject) == (Cause.WAITING, "/ai/inference")
    spare_ms = 20.0 - 1.015 * USUAL_MS["inference"]
    waits = (12.0, 12.0 - spare_ms, 12.0 - 2 * spare_ms)
    assert found.ms == pytest.approx(sum(waits) / 4, rel=0.08)


@pytest.mark.parametrize(
    ("stage", "late", "cause", "subject"),
    [
        ("preprocess", Extra(run_queue=3.0), Cause.BUSY_CORE, "/ai/preprocess"),
        ("inference", Extra(way=3.0), Cause.TRANSPORT, "/ai/preprocess to /ai/inference"),
    ],
)
@pytest.mark.parametrize("both", [True, False])
def test_frames_that_come_in_pairs_wait_for_each_other_anyway(
    stage: str, late: Extra, cause: Cause, subject: str, both: bool
) -> None:
    """The second of a pair comes 10 ms after the first one, and waits for the rest of its 15 ms.

    If only the first one is late, the second one waits for longer because of that.
    """

    def fault(frame: int, name: str) -> Extra:
        is_late = name == stage and frame % 6 in ((0, 1) if both else (0,))
        return late if is_late else Extra()

    def pairs(frame: int) -> float:
        return 23.0 if frame % 2 else 0.0

    timings, usual = Pipeline().run(fault, early_ms=pairs), Pipeline().run(early_ms=pairs)
    found = {(each.cause, each.subject): each.ms for each in diagnosis(timings).findings}
    waits = {(each.cause, each.subject): each.ms for each in diagnosis(usual).findings}
    late_ms = late.run_queue + late.way
    longer_ms = 0.0 if both else late_ms
    assert waits.keys() == {(Cause.QUEUEING, "/ai/inference")}
    assert found.keys() == {*waits, (cause, subject)}
    assert found[cause, subject] == pytest.approx((late_ms * (1 + both) + longer_ms) / 6, rel=0.1)


def test_a_stage_that_is_too_slow_is_named_without_a_fault() -> None:
    """15 ms for a frame, one each 10 ms: waiting for the stage itself."""
    result = diagnosis(Pipeline().run(period_ms=10.0))
    assert [(each.cause, each.subject) for each in result.findings] == [
        (Cause.QUEUEING, "/ai/inference")
    ]
    assert result.findings[0].parameter == "adapt_to_load"


def test_a_publisher_that_waits_for_a_full_queue_has_no_slow_subscriber() -> None:
    """With when_full: wait, publishing ends when the next stage takes a frame."""
    usual = StageTiming("preprocess", "/ai/preprocess", 0.0, 3.0, None, cpu_ms=3.0, clock_id=1)
    timings = []
    for frame in range(60):
        ended_ns = START_NS + ns(40.0 * frame)
        timings += [
            usual._replace(
                stamp_ns=frame + 1, ended_ns=ended_ns, publish_ms=12.0, run_queue_ms=0.0
            ),
            usual._replace(
                stage="inference",
                node="/ai/inference",
                queue_ms=12.1,
                stamp_ns=frame + 1,
                ended_ns=ended_ns + ns(12.1 + 3.0),
                publish_ms=0.0,
                run_queue_ms=0.0,
            ),
        ]
    causes = {(each.cause, each.subject) for each in diagnosis(timings).findings}
    assert (Cause.QUEUEING, "/ai/inference") in causes
    assert Cause.SLOW_SUBSCRIBER not in {cause for cause, _ in causes}


def test_a_publisher_waits_first_for_a_subscriber_and_then_for_a_full_queue() -> None:
    """Of 30 ms, 20 pass before the frame is in the queue of the next stage."""
    usual = StageTiming("preprocess", "/ai/preprocess", 0.0, 3.0, None, cpu_ms=3.0, clock_id=1)
    timings = []
    for frame in range(60):
        ended_ns = START_NS + ns(80.0 * frame)
        late = 30.0 if third(frame) else 0.1
        timings += [
            usual._replace(
                stamp_ns=frame + 1, ended_ns=ended_ns, publish_ms=late, run_queue_ms=0.0
            ),
            usual._replace(
                stage="inference",
                node="/ai/inference",
                queue_ms=10.0 if third(frame) else 0.1,
                stamp_ns=frame + 1,
                ended_ns=ended_ns + ns(late + 3.0),
                publish_ms=0.0,
                run_queue_ms=0.0,
            ),
        ]
    found = {(each.cause, each.subject): each.ms for each in diagnosis(timings).findings}
    # A third of the frames is held up.
    subscriber = found[Cause.SLOW_SUBSCRIBER, "/ai/tensor"]
    assert subscriber == pytest.approx(20.0 / 3, abs=0.2)
