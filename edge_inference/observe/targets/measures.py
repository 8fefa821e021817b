"""What a target may be about: one row for each measure."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

#: The share of the samples that does not exceed a percentile, by its name.
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MEAN = "mean"


class Place(enum.Enum):
    """What the key ``where`` of a target names."""

    STAGE = "a stage"
    #: Without ``where`` the whole way of a frame.
    STAGE_OR_ALL = "a stage, or nothing for the whole way of a frame"
    NOTHING = "nothing"


class Sampling(enum.Enum):
    """How the samples of a measure become a value with an interval."""

    #: A percentile or the mean of durations, one for each frame.
    DURATION = "duration"
    #: Events a second.
    RATE = "rate"
    #: The inverse of the mean duration.
    CAPACITY = "capacity"
    #: The share of the frames, in percent.
    SHARE = "share"
    #: The mean of values read periodically.
    LEVEL = "level"
    #: The maximum of values read periodically; an interval is not defined.
    PEAK = "peak"
    #: A figure with an interval of its own, or counted exactly.
    FIGURE = "figure"


@dataclass(frozen=True)
class Measure:
    """One row; ``maximum`` is the highest bound that makes sense."""

    unit: str
    sampling: Sampling
    place: Place = Place.NOTHING
    maximum: float = math.inf

    @property
    def statistics(self) -> tuple[str, ...]:
        """The statistics that a target may choose from, the default one first; empty: no choice."""
        return ("p95", *PERCENTILES, MEAN) if self.sampling is Sampling.DURATION else ()


_MS = "ms"
_PERCENT = "%"

MEASURES: dict[str, Measure] = {
    "rate_hz": Measure("Hz", Sampling.RATE, Place.STAGE),
    "capacity_hz": Measure("Hz", Sampling.CAPACITY, Place.STAGE_OR_ALL),
    "queue_ms": Measure(_MS, Sampling.DURATION, Place.STAGE),
    "process_ms": Measure(_MS, Sampling.DURATION, Place.STAGE),
    "device_ms": Measure(_MS, Sampling.DURATION, Place.STAGE),
    "total_ms": Measure(_MS, Sampling.DURATION, Place.STAGE_OR_ALL),
    "age_ms": Measure(_MS, Sampling.DURATION, Place.STAGE_OR_ALL),
    "control_period_ms": Measure(_MS, Sampling.DURATION),
    "drops_percent": Measure(_PERCENT, Sampling.SHARE, Place.STAGE, 100.0),
    "deadline_misses_percent": Measure(_PERCENT, Sampling.SHARE, Place.STAGE_OR_ALL, 100.0),
    "models_at_work": Measure("", Sampling.FIGURE),
    "cpu_percent": Measure(_PERCENT, Sampling.LEVEL, maximum=100.0),
    "process_cpu_percent": Measure(_PERCENT, Sampling.LEVEL, maximum=100.0),
    "memory_mib": Measure("MiB", Sampling.PEAK),
    "gpu_percent": Measure(_PERCENT, Sampling.LEVEL, maximum=100.0),
    "gpu_memory_percent": Measure(_PERCENT, Sampling.PEAK, maximum=100.0),
    "power_w": Measure("W", Sampling.LEVEL),
    "streaming_agreement": Measure("", Sampling.FIGURE, maximum=1.0),
}
