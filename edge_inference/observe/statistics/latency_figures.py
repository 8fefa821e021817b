"""Percentiles of latencies, each only from enough samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Per cent, and the samples that it needs: one in that many lies above it on average.
MINIMUM_SAMPLES = {"p50": 1, "p90": 10, "p95": 20, "p99": 100, "p99.9": 1000}
_PERCENT = {name: float(name.removeprefix("p")) for name in MINIMUM_SAMPLES}


@dataclass(frozen=True)
class LatencyFigures:
    """Milliseconds; all None without a sample.

    ``percentiles`` are by name, those of :data:`MINIMUM_SAMPLES`; None from too few samples.
    """

    count: int
    mean: float | None
    min: float | None
    max: float | None
    percentiles: dict[str, float | None]

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> LatencyFigures:
        """Summarize samples, with linear interpolation between order statistics."""
        if not samples_ms:
            return cls(0, None, None, None, dict.fromkeys(MINIMUM_SAMPLES))
        values = np.asarray(samples_ms, dtype=np.float64)
        percentiles = {
            name: percentile_of(values, name) if len(values) >= needed else None
            for name, needed in MINIMUM_SAMPLES.items()
        }
        return cls(
            len(values), float(values.mean()), float(values.min()), float(values.max()), percentiles
        )

    def missing(self) -> dict[str, str]:
        """Return for each percentile that has no value why."""
        return {
            name: f"{self.count} samples, needs {MINIMUM_SAMPLES[name]}"
            for name, value in self.percentiles.items()
            if value is None
        }


def percentile_of(values: Sequence[float] | NDArray[np.float64], name: str) -> float:
    """Return a percentile by its name, such as p99.9."""
    return float(np.percentile(values, _PERCENT[name]))
