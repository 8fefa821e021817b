"""Estimates a run from measured service times, where no pipeline can play the recording."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.errors import InputError
from edge_inference.observe.streaming.offline_results import OfflineResult
from edge_inference.observe.streaming.streaming_agreement import PublishedResult


def replay_service_times(
    frame_times_ns: Sequence[int], offline: Sequence[OfflineResult], slowdown: float = 1.0
) -> list[PublishedResult]:
    """Place the results of a model as if one worker took the newest frame whenever it is free.

    A frame that waits is replaced by a newer one, as in the mailbox of a stage. Each frame takes
    its own service time, times ``slowdown``. The stages of a pipeline overlap and wait for cores,
    so this is an estimate. Raises InputError if the frames are not those of the results.
    """
    if len(frame_times_ns) != len(offline):
        raise InputError(
            f"replay: expected one result for each of {len(frame_times_ns)} frames, got "
            f"{len(offline)}; run the model on the same recording"
        )
    published: list[PublishedResult] = []
    free_ns = 0
    for index, (time_ns, each) in enumerate(zip(frame_times_ns, offline, strict=True)):
        started_ns = max(time_ns, free_ns)
        is_last = index + 1 == len(frame_times_ns)
        if not is_last and frame_times_ns[index + 1] <= started_ns:
            continue  # a newer frame has arrived before the worker is free
        free_ns = started_ns + round(each.service_ms * slowdown * 1e6)
        published.append(PublishedResult(time_ns, free_ns, each.result))
    return published
