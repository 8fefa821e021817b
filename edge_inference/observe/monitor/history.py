"""The figures of the last hour."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.monitor.history_figures import find_figures
from edge_inference.observe.monitor.snapshot import Snapshot

#: A longer time without a snapshot is a gap in all series.
_GAP_S = 3.0
_PERIOD_S = 1.0


class _Series:
    """The values of one figure, in a ring; NaN is unknown. ``seen`` is the newest known place."""

    def __init__(self, unit: str, capacity: int) -> None:
        self.unit = unit
        self.values: NDArray[np.float32] = np.full(capacity, np.nan, np.float32)
        self.seen = 0


class History:
    """Keeps the figures of one snapshot a second for an hour, in at most 60 MB. Thread-safe.

    At most ``MAX_SERIES`` figures are kept; one that has been unknown for an hour goes. Times are
    seconds of the system clock since 1970.
    """

    CAPACITY = 3600
    MAX_SERIES = 4096

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: NDArray[np.float64] = np.full(self.CAPACITY, np.nan)
        self._series: dict[str, _Series] = {}
        #: The number of places filled so far; the newest is at this number less one, in the ring.
        self._count = 0

    def append(self, snapshot: Snapshot) -> None:
        """Add the figures of a snapshot; call it once a second."""
        with self._lock:
            newest_s = self._newest_s()
            if snapshot.at_s <= newest_s:
                # The system clock was set back: what was before keeps its distances.
                self._times += snapshot.at_s - _PERIOD_S - newest_s
            elif snapshot.at_s - newest_s > _GAP_S:
                self._add_place(newest_s + _PERIOD_S)
            self._add_place(snapshot.at_s)
            newest = self._count - 1
            for name, unit, value in find_figures(snapshot):
                if value is None or not math.isfinite(value):
                    continue
                series = self._series.get(name)
                if series is None:
                    if len(self._series) >= self.MAX_SERIES:
                        continue
                    series = self._series[name] = _Series(unit, self.CAPACITY)
                series.values[newest % self.CAPACITY] = value
                series.seen = newest

    def series(self) -> tuple[str, ...]:
        """Return the names of all series, sorted; see ``find_figures``."""
        with self._lock:
            return tuple(sorted(self._series))

    def unit(self, name: str) -> str:
        """Return the unit of a series in UCUM notation; empty for none, or an unknown series."""
        with self._lock:
            return self._series[name].unit if name in self._series else ""

    def get(
        self, names: Sequence[str], since_s: float = math.inf
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float32]]]:
        """Return times ``(N,)`` and the values ``(N,)`` of each series, the oldest first.

        NaN is unknown. They are copies of the last ``since_s`` seconds. Unknown names are left out.
        """
        with self._lock:
            first = max(0, self._count - self.CAPACITY)
            places = np.arange(first, self._count) % self.CAPACITY
            times = self._times[places]
            if len(times) and math.isfinite(since_s):
                is_wanted = times >= times[-1] - since_s
                places, times = places[is_wanted], times[is_wanted]
            return times, {
                name: self._series[name].values[places] for name in names if name in self._series
            }

    def newest(self) -> tuple[float, dict[str, float]] | None:
        """Return the time and the known values of the newest snapshot; None before the first."""
        with self._lock:
            if not self._count:
                return None
            newest = self._count - 1
            place = newest % self.CAPACITY
            return float(self._times[place]), {
                name: float(series.values[place])
                for name, series in self._series.items()
                if series.seen == newest
            }

    def _newest_s(self) -> float:
        return float(self._times[(self._count - 1) % self.CAPACITY]) if self._count else math.nan

    def _add_place(self, at_s: float) -> None:
        place = self._count % self.CAPACITY
        self._times[place] = at_s
        oldest = self._count - self.CAPACITY
        for name, series in [*self._series.items()]:
            if series.seen <= oldest:  # nothing is known of it in the whole ring
                del self._series[name]
            else:
                series.values[place] = np.nan
        self._count += 1
