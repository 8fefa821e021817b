"""The way of frames whose stamps are all equal, as those of a camera without stamps."""

from __future__ import annotations

import random

import pytest

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution import frame_ways
from edge_inference.observe.attribution.frame_ways import join_frames

STAGES = ("preprocess", "inference", "decode")
MS = 1_000_000


def record(stage: str, ended_ns: int, dropped: str = "") -> StageTiming:
    return StageTiming(
        stage, f"/ai/{stage}", 0.5, 4.0, None, dropped, ended_ns=ended_ns, clock_id=1
    )  # fmt: skip


def records(frames: int) -> list[StageTiming]:
    """Return frames of 30 ms, of which each stage drops some."""
    chance = random.Random(1)
    return [
        record(
            stage,
            10**12 + frame * 30 * MS + (place + 1) * 5 * MS + chance.randrange(MS),
            "superseded" if chance.random() < 0.1 else "",
        )
        for frame in range(frames)
        for place, stage in enumerate(STAGES)
    ]


def test_each_record_comes_from_the_latest_output_of_an_earlier_stage() -> None:
    given = records(60)
    for step in join_frames(given):
        earlier = STAGES[: STAGES.index(step.timing.stage)]
        candidates = [
            each
            for each in given
            if each.stage in earlier
            and not each.dropped
            and each.ended_ns <= step.timing.arrived_ns + 200_000
        ]
        assert step.before == max(candidates, key=lambda each: each.ended_ns, default=None)


def test_a_window_may_begin_in_the_middle_of_a_frame() -> None:
    steps = join_frames(records(60)[1:])
    ways = {step.way for step in steps if step.before is not None}
    assert ways == {("/ai/preprocess", "/ai/inference"), ("/ai/inference", "/ai/decode")} | {
        ("/ai/preprocess", "/ai/decode")  # the record between them was a drop
    }


def test_frames_with_the_same_stamp_are_told_apart() -> None:
    steps = join_frames(records(60))
    of_stages = {stage: [] for stage in STAGES}  # type: dict[str, list[int]]
    for step in steps:
        of_stages[step.timing.stage].append(step.number)
        if step.before is not None:
            before = next(each for each in steps if each.timing is step.before)
            assert step.frame == before.frame
    assert of_stages["preprocess"] == list(range(60))
    assert len(set(of_stages["decode"])) > 40


def test_the_work_grows_with_the_number_of_records_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    ended_ns = frame_ways._ended_ns

    def counted(timing: StageTiming) -> int:
        nonlocal looks
        looks += 1
        return ended_ns(timing)

    monkeypatch.setattr(frame_ways, "_ended_ns", counted)
    given = records(1000)
    assert len(join_frames(given)) == len(given)
    assert looks < 50 * len(given)
