"""The newest minutes of some figures, for the sparklines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.monitor.history import History

#: A character of a sparkline is the mean of this many seconds.
BUCKET_S = 5
_BUCKETS = 20


@dataclass(frozen=True)
class Trends:
    """Means over 5 s each, the newest last; NaN is unknown, empty where there are none.

    ``latency`` is p50 from end to end in milliseconds; ``cpu``, ``gpu`` and ``memory`` are shares,
    ``temperature`` is that of the hottest control zone in °C, ``power`` that of the board in W.
    """

    latency: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    gpu: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    temperature: tuple[float, ...] = ()
    power: tuple[float, ...] = ()


def read_trends(history: History, end_node: str) -> Trends:
    """Return the newest figures of a history; ``end_node`` is the node of the end to show."""
    names = {
        "latency": f"end_p50_ms:{end_node}",
        "cpu": "cpu_share",
        "gpu": "gpu_share",
        "memory": "memory_share",
        "temperature": "hottest_c",
        "power": "power_w",
    }
    times, found = history.get(tuple(names.values()), BUCKET_S * _BUCKETS)
    return Trends(
        **{
            name: _mean_by_bucket(times, found[series])
            for name, series in names.items()
            if series in found
        }
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
