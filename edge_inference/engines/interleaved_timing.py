"""Times several functions interleaved, so that load on the machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: Calls of each function before the timing, while caches, clocks and buffers settle.
WARM_UP_CALLS = 3


def time_interleaved(
    functions: Mapping[str, Callable[[int], object]],
    runs: int,
    *,
    warm_up: int = WARM_UP_CALLS,
    now_ns: Callable[[], int] = time.perf_counter_ns,
    after_round: Callable[[float], None] = lambda fraction: None,
) -> dict[str, list[float]]:
    """Return the milliseconds of each call, ``runs`` for each function.

    Every round calls each function once, with the number of the round. The first function of
    a round changes from round to round. ``now_ns`` is a monotonic clock in nanoseconds;
    ``after_round`` gets the finished fraction. Errors of these functions pass through.
    """
    names = list(functions)
    durations: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(warm_up + runs if names else 0):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            started = now_ns()
            functions[name](round_number)
            ended = now_ns()
            if round_number >= warm_up:
                durations[name].append((ended - started) / 1e6)
        after_round((round_number + 1) / (warm_up + runs))
    return durations
