"""Streaming agreement: the newest result at each frame instant against the best one on that frame.

A slow model is right about the past. What a robot acts on at an instant is the newest result that
was published by then; it is compared with what the best available variant finds offline on the
frame of that instant. So accuracy and latency are one figure. The association with the latest
result is that of Li, Wang and Ramanan, "Towards Streaming Perception", ECCV 2020; the reference
needs no labels, and must be common to all candidates: a model that sees nothing agrees with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results import Result
from edge_inference.errors import InputError
from edge_inference.observe.streaming.block_bootstrap import Interval, bootstrap_interval
from edge_inference.observe.streaming.frame_scoring import (
    FrameScoring,
    expect_same_kind,
    scoring_for,
)

#: The first results come late while an engine still warms up.
WARMUP_S = 1.0
_BLOCK_NS = 1_000_000_000


@dataclass(frozen=True)
class PublishedResult:
    """A result, the time of its frame, and when it was published; one steady clock in ns."""

    frame_ns: int
    published_ns: int
    result: Result


@dataclass(frozen=True)
class StreamReference:
    """What the best available variant finds offline: one result for each frame of the recording.

    ``confidence`` is the score from which a box counts, None for a decoder without it; the results
    also have the boxes of the band below it. ``description`` names the variant.
    """

    results: tuple[Result, ...]
    confidence: float | None
    description: str


@dataclass(frozen=True, eq=False)
class StreamingScore:
    """The streaming agreement of one run.

    ``value`` is 0..1, None where it is undefined: neither side has found anything. ``interval`` is
    its confidence interval of 95 %, None from less than 6 s. ``measure`` names the score.
    ``frames`` were scored, ``warmup`` frames at the beginning were not. ``without_result`` of the
    scored frames came before the first result. ``mean_age_ms`` is the mean age of the newest
    result's frame at the frame instants. ``is_estimate`` tells that the results were not
    published by a pipeline, but placed by measured service times.
    """

    value: float | None
    interval: Interval | None
    measure: str
    frames: int
    warmup: int
    without_result: int
    mean_age_ms: float | None
    is_estimate: bool
    #: The instants of all frames, their counts ``(N, K)``, and the score of summed counts.
    frame_times_ns: NDArray[np.int64]
    counts: NDArray[np.float64]
    scores: Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class ScoreDifference:
    """How much higher the first score is than the second, with the interval of 95 %."""

    value: float
    interval: Interval | None

    @property
    def is_significant(self) -> bool:
        """Tell whether the interval excludes 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def score_stream(
    frame_times_ns: Sequence[int],
    published: Sequence[PublishedResult],
    reference: StreamReference,
    *,
    warmup_s: float = WARMUP_S,
    is_estimate: bool = False,
) -> StreamingScore:
    """Score the results of one run of a recording.

    ``frame_times_ns`` are the instants at which the source gave each frame, ascending.
    ``published`` may be in any order. Newest is the result of the newest frame; of several results
    of one frame, the one that was published last. A result that is published at a frame's instant
    counts.

    Raises InputError for times that do not ascend, for results published before their frame, for a
    reference with another number of frames, for results of different kinds, for a kind without a
    streaming score, and for a recording that ends before the warm-up does.
    """
    times = _check_times(frame_times_ns, reference)
    newest = newest_results(frame_times_ns, published)
    first = int(np.searchsorted(times, times[0] + round(warmup_s * 1e9)))
    if first == len(times):
        raise InputError(
            f"recording: expected more than the warm-up of {warmup_s:g} s, got {len(times)} "
            f"frame(s) in {(times[-1] - times[0]) / 1e9:.2f} s; use a longer recording"
        )
    scoring = scoring_for(reference.results, reference.confidence)
    counts = np.stack(
        [
            _count(scoring, expected, actual)
            for expected, actual in zip(reference.results, newest, strict=True)
        ]
    )
    ages_ms = [
        (time_ns - result.frame_ns) / 1e6
        for time_ns, result in zip(frame_times_ns[first:], newest[first:], strict=True)
        if result is not None
    ]
    return StreamingScore(
        value=_score(scoring.scores, counts[first:]),
        interval=bootstrap_interval(_blocks(times[first:], counts[first:]), scoring.scores),
        measure=scoring.measure,
        frames=len(times) - first,
        warmup=first,
        without_result=len(times) - first - len(ages_ms),
        mean_age_ms=float(np.mean(ages_ms)) if ages_ms else None,
        is_estimate=is_estimate,
        frame_times_ns=times,
        counts=counts,
        scores=scoring.scores,
    )


def newest_results(
    frame_times_ns: Sequence[int], published: Sequence[PublishedResult]
) -> list[PublishedResult | None]:
    """Return the newest result at each frame instant, None before the first one.

    Raises InputError for a result that was published before its frame.
    """
    for each in published:
        if each.published_ns < each.frame_ns:
            raise InputError(
                f"result of the frame at {each.frame_ns} ns: expected to be published after it, "
                f"got {each.published_ns} ns; take both times from one steady clock"
            )
    waiting = sorted(published, key=lambda each: (each.published_ns, each.frame_ns))
    newest: list[PublishedResult | None] = []
    current: PublishedResult | None = None
    position = 0
    for time_ns in frame_times_ns:
        while position < len(waiting) and waiting[position].published_ns <= time_ns:
            if current is None or waiting[position].frame_ns >= current.frame_ns:
                current = waiting[position]
            position += 1
        newest.append(current)
    return newest


def compare_scores(first: StreamingScore, second: StreamingScore) -> ScoreDifference | None:
    """Return how much higher the first score is; None where one of them is undefined.

    The same seconds of the recording are drawn for both (paired block bootstrap), so that what is
    difficult for both does not widen the interval; warm-up of either is skipped. Raises InputError
    for scores of different measures or recordings.
    """
    if first.measure != second.measure or first.counts.shape != second.counts.shape:
        raise InputError(
            f"scores: expected two of one recording and measure, got {first.measure} of "
            f"{len(first.counts)} frames and {second.measure} of {len(second.counts)} frames; play "
            "the same recording for both"
        )
    skipped = max(first.warmup, second.warmup)
    values = [_score(each.scores, each.counts[skipped:]) for each in (first, second)]
    if values[0] is None or values[1] is None:
        return None
    width = first.counts.shape[1]

    def difference(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return first.scores(counts[:, :width]) - second.scores(counts[:, width:])

    paired = np.hstack([first.counts, second.counts])[skipped:]
    blocks = _blocks(first.frame_times_ns[skipped:], paired)
    return ScoreDifference(values[0] - values[1], bootstrap_interval(blocks, difference))


def _blocks(times: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the summed counts of equal parts of the recording, of about one second each."""
    elapsed = times - times[0]
    duration = int(elapsed[-1]) + 1
    parts = max(1, round(duration / _BLOCK_NS))
    numbers = elapsed * parts // duration
    return np.stack([counts[numbers == number].sum(axis=0) for number in range(parts)])


def _score(
    scores: Callable[[NDArray[np.float64]], NDArray[np.float64]], counts: NDArray[np.float64]
) -> float | None:
    value = float(scores(counts.sum(axis=0, keepdims=True))[0])
    return None if np.isnan(value) else value


def _check_times(frame_times_ns: Sequence[int], reference: StreamReference) -> NDArray[np.int64]:
    if not frame_times_ns:
        raise InputError("recording: expected at least one frame, got none; play it to its end")
    if len(reference.results) != len(frame_times_ns):
        raise InputError(
            f"reference: expected one result for each of {len(frame_times_ns)} frames, got "
            f"{len(reference.results)}; run the reference on the same recording"
        )
    for index, (before, after) in enumerate(pairwise(frame_times_ns), 1):
        if after <= before:
            raise InputError(
                f"frame times: expected ascending ones, got {after} ns after {before} ns at frame "
                f"{index}; take them from a steady clock"
            )
    return np.asarray(frame_times_ns, np.int64)


def _count(
    scoring: FrameScoring[Any], expected: Result, actual: PublishedResult | None
) -> NDArray[np.float64]:
    if actual is None:
        return scoring.count(expected, None)
    expect_same_kind(expected, actual.result)
    return scoring.count(expected, actual.result)
