"""How far load moves a node below the best operating point that it may serve.

A node that is offered more images than it can process drops the others. It may go to a cheaper
point instead. It goes back up only when the better point could process the demand with a
reserve, so it does not alternate between two points.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Utilization above which the node goes to the next cheaper point, and its duration.
BUSY = 0.95
BUSY_NS = 2_000_000_000
#: Utilization of the next better point below which the node goes back to it, and its duration.
SPARE = 0.75
SPARE_NS = 8_000_000_000


class LoadAdaptation:
    """Counts the points below the best one. Times are nanoseconds of one monotonic clock."""

    def __init__(self) -> None:
        """Start at the best point."""
        self.steps = 0
        self._change = 0
        self._since_ns = 0

    def update(
        self, now_ns: int, demand_hz: float | None, process_ms: Sequence[float | None]
    ) -> None:
        """Set the number of points to go below the best; without a demand it is 0.

        ``process_ms`` are the times of one inference at the points that the node may serve, most
        accurate first; None where a time is unknown, which changes nothing.
        """
        self.steps = 0 if demand_hz is None else min(self.steps, len(process_ms) - 1)
        change = 0 if demand_hz is None else self._wanted_change(demand_hz / 1e3, process_ms)
        if change != self._change:
            self._change, self._since_ns = change, now_ns
        if change and now_ns - self._since_ns >= (BUSY_NS if change > 0 else SPARE_NS):
            self.steps += change
            self._change = 0

    def _wanted_change(self, per_ms: float, process_ms: Sequence[float | None]) -> int:
        used = process_ms[self.steps]
        if used is not None and per_ms * used > BUSY:
            return int(self.steps + 1 < len(process_ms))
        better = process_ms[self.steps - 1] if self.steps else None
        return -int(better is not None and per_ms * better < SPARE)
