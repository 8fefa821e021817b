"""Times several things in turns, so that a noisy machine is noisy for all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: Calls of each before the clock counts: caches, processor clocks and lazy buffers settle.
WARM_UP_CALLS = 3


def time_interleaved(
    sides: Mapping[str, Callable[[int], object]],
    runs: int,
    *,
    warm_up: int = WARM_UP_CALLS,
    now_ns: Callable[[], int] = time.perf_counter_ns,
    after_round: Callable[[float], None] = lambda fraction: None,
) -> dict[str, list[float]]:
    """Return the milliseconds of each call, ``runs`` for each side.

    Every round calls each side once, with the number of the round; whose turn is
    first moves on from round to round. ``now_ns`` is a rising clock in nanoseconds,
    ``after_round`` is told how far the whole is. Raises whatever these raise.
    """
    names = list(sides)
    durations: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm_up + runs if names else 0):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            started = now_ns()
            sides[name](turn)
            ended = now_ns()
            if turn >= warm_up:
                durations[name].append((ended - started) / 1e6)
        after_round((turn + 1) / (warm_up + runs))
    return durations
