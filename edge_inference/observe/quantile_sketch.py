"""Percentiles of any number of values in little memory, from parts that can be merged.

With the package ``fastdigest`` they come from a t-digest (T. Dunning, "Computing extremely accurate
quantiles using t-digests"); without it they are those of the newest values. Both are exact as long
as there are few values.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.runtime.latency import Percentiles

#: Up to this many values a digest keeps them all.
EXACT_VALUES = 512
#: The accuracy of a digest: within 0.3 % in rank, also after merging.
_CENTROIDS = 200
#: By default this many of the newest values are kept where there is no digest.
RING_VALUES = 10_000

_INFINITY = float("inf")


class QuantileSketch(ABC):
    """Count, mean, maximum and percentiles of values; make it with :func:`make_sketch`.

    Count, mean and maximum are exact. Values that are not finite are left out. Not for several
    threads at once.
    """

    @abstractmethod
    def add(self, value: float) -> None:
        """Add a value."""

    @abstractmethod
    def add_all(self, values: NDArray[np.float64]) -> None:
        """Add many values at once."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Add all values of another sketch of the same kind, which does not change."""

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of values."""

    @property
    @abstractmethod
    def mean(self) -> float | None:
        """The mean; None without values."""

    @property
    @abstractmethod
    def max(self) -> float | None:
        """The greatest value; None without values."""

    def percentile(self, percent: float) -> float | None:
        """Return the value below which ``percent`` % (0 to 100) lie; None without values."""
        return self._percentiles((percent,))[0] if self.count else None

    def percentiles(self, percents: Sequence[float]) -> list[float | None]:
        """Return several percentiles; all None without values."""
        return [*self._percentiles(percents)] if self.count else [None] * len(percents)

    def summary(self) -> Percentiles:
        """Return the usual figures; all None without values."""
        p50, p90, p95, p99 = self.percentiles((50, 90, 95, 99))
        return Percentiles(self.mean, p50, p90, p95, p99, self.max)

    @abstractmethod
    def _percentiles(self, percents: Sequence[float]) -> list[float]:
        """Return percentiles; there is at least one value."""


class DigestSketch(QuantileSketch):
    """A t-digest of all values; exact up to ``EXACT_VALUES``."""

    def __init__(self, digest_class: Any) -> None:
        self._digest_class = digest_class
        #: Holds all values but the newest; None as long as these are all.
        self._digest: Any = None
        self._newest = array("d")
        self._digest_count = 0
        self._digest_sum = 0.0
        self._digest_max = -_INFINITY

    def add(self, value: float) -> None:
        """Add a value; they go into the digest in batches, which is much faster."""
        if -_INFINITY < value < _INFINITY:
            self._newest.append(value)
            if len(self._newest) > EXACT_VALUES:
                self._fold()

    def add_all(self, values: NDArray[np.float64]) -> None:
        """Add many values."""
        self._newest.frombytes(values[np.isfinite(values)].tobytes())
        if len(self._newest) > EXACT_VALUES:
            self._fold()

    def merge(self, other: DigestSketch) -> None:
        """Add all values of another sketch."""
        if other._digest is not None:
            if self._digest is None:
                self._digest = self._digest_class(_CENTROIDS)
            self._digest.merge_inplace(other._digest)
            self._digest_count += other._digest_count
            self._digest_sum += other._digest_sum
            self._digest_max = max(self._digest_max, other._digest_max)
        self._newest.extend(other._newest)
        if len(self._newest) > EXACT_VALUES:
            self._fold()

    @property
    def count(self) -> int:
        """The number of values."""
        return self._digest_count + len(self._newest)

    @property
    def mean(self) -> float | None:
        """The mean."""
        total = self._digest_sum + float(np.sum(self._newest))
        return total / self.count if self.count else None

    @property
    def max(self) -> float | None:
        """The greatest value."""
        greatest = max(self._newest, default=-_INFINITY)
        return max(self._digest_max, greatest) if self.count else None

    def _percentiles(self, percents: Sequence[float]) -> list[float]:
        if self._digest is None:
            return _exact(self._newest, percents)
        self._fold()
        return [float(value) for value in self._digest.quantile_vec([p / 100 for p in percents])]

    def _fold(self) -> None:
        """Put the newest values into the digest."""
        if not self._newest:
            return  # an empty batch is an error in some releases
        values = np.array(self._newest)
        if self._digest is None:
            self._digest = self._digest_class(_CENTROIDS)
        self._digest.batch_update(values)
        self._digest_count += len(values)
        self._digest_sum += float(values.sum())
        self._digest_max = max(self._digest_max, float(values.max()))
        self._newest = array("d")


class RingSketch(QuantileSketch):
    """The newest values themselves; percentiles are exact for these."""

    def __init__(self, max_values: int = RING_VALUES) -> None:
        self._max_values = max_values
        self._values = array("d")
        #: Where the next value goes, once the ring is full.
        self._next = 0
        self._count = 0
        self._sum = 0.0
        self._max = -_INFINITY

    def add(self, value: float) -> None:
        """Add a value."""
        if -_INFINITY < value < _INFINITY:
            self._count += 1
            self._sum += value
            self._max = max(self._max, value)
            self._keep(value)

    def add_all(self, values: NDArray[np.float64]) -> None:
        """Add many values."""
        for value in values.tolist():
            self.add(value)

    def merge(self, other: RingSketch) -> None:
        """Add all values of another sketch; those that it has kept count as the newest."""
        for value in (*other._values[other._next :], *other._values[: other._next]):
            self._keep(value)
        self._count += other._count
        self._sum += other._sum
        self._max = max(self._max, other._max)

    @property
    def count(self) -> int:
        """The number of values."""
        return self._count

    @property
    def mean(self) -> float | None:
        """The mean."""
        return self._sum / self._count if self._count else None

    @property
    def max(self) -> float | None:
        """The greatest value."""
        return self._max if self._count else None

    def _keep(self, value: float) -> None:
        if len(self._values) < self._max_values:
            self._values.append(value)
        else:
            self._values[self._next] = value
            self._next = (self._next + 1) % self._max_values

    def _percentiles(self, percents: Sequence[float]) -> list[float]:
        return _exact(self._values, percents)


def make_sketch(ring_values: int = RING_VALUES) -> QuantileSketch:
    """Return an empty sketch; without fastdigest it keeps the newest ``ring_values``."""
    digest_class = _find_digest_class()
    return RingSketch(ring_values) if digest_class is None else DigestSketch(digest_class)


@functools.cache
def _find_digest_class() -> Any:
    """Return fastdigest's class; None where it is not installed."""
    try:
        from fastdigest import TDigest
    except ImportError:
        return None
    return TDigest


def _exact(values: array[float], percents: Sequence[float]) -> list[float]:
    """Return percentiles with linear interpolation between order statistics."""
    return [float(value) for value in np.percentile(np.array(values), percents)]
