"""The newest minutes of some figures, for the sparklines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.snapshot import EndRow

#: A character of a sparkline is the mean of this many seconds.
BUCKET_S = 5
_BUCKETS = 20
#: The series of the history that are shown, in the order of the fields of ``Trends``.
_SERIES = ("cpu_share", "gpu_share", "memory_share", "hottest_c", "power_w")


@dataclass(frozen=True)
class Trends:
    """Means over 5 s each, the newest last; NaN is unknown, empty where there are none.

    ``latency`` is p50 from end to end in milliseconds, by the node of the end. ``cpu``, ``gpu`` and
    ``memory`` are shares, ``temperature`` is that of the hottest control zone in °C, ``power`` that
    of the board in W.
    """

    latency: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    cpu: tuple[float, ...] = ()
    gpu: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    temperature: tuple[float, ...] = ()
    power: tuple[float, ...] = ()


def read_trends(history: History, ends: Sequence[EndRow]) -> Trends:
    """Return the newest figures of a history, also of these ends."""
    latencies = {end.node: f"end_p50_ms:{end.node}" for end in ends}
    times, found = history.get((*latencies.values(), *_SERIES), BUCKET_S * _BUCKETS)
    means = {name: _mean_by_bucket(times, values) for name, values in found.items()}
    return Trends(
        {node: means[series] for node, series in latencies.items() if series in means},
        *(means.get(series, ()) for series in _SERIES),
    )


def _mean_by_bucket(times: NDArray[np.float64], values: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the means of the newest buckets, whose borders do not move with the time."""
    is_known = np.isfinite(values)
    places = times // BUCKET_S
    return tuple(
        float(values[is_known & (places == place)].mean())
        if bool((is_known & (places == place)).any())
        else math.nan
        for place in np.arange(places[-1] - _BUCKETS + 1, places[-1] + 1)
    )
