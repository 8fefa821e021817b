"""Measures the periods at which velocities are published while a robot is commanded to move."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_inference.observe.targets.observations import Observations


class ControlPeriods:
    """Takes every velocity of the command node.

    A period begins with a velocity other than zero: after zero the node may fall silent.
    """

    def __init__(
        self, observations: Observations, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._observations = observations
        self._now_ns = now_ns
        self._moving_ns: int | None = None

    def add(self, velocity: Any) -> None:
        """Add a velocity: forward in m/s and counterclockwise in rad/s, of any type with two."""
        now_ns = self._now_ns()
        if self._moving_ns is not None:
            period_ms = (now_ns - self._moving_ns) / 1e6
            self._observations.add_control_period(period_ms, now_ns)
        self._moving_ns = now_ns if any(velocity) else None
