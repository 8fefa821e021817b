"""A record of the published velocities, and its summary."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from edge_inference.cli.voice.utterance_tracker import Velocity

_ZERO: Velocity = (0.0, 0.0)
#: A velocity that lasts for so long counts as held; shorter ones belong to a ramp.
_MIN_HELD_S = 0.15
#: Only changes are kept; the longest plan has far fewer.
_MAX_CHANGES = 4096


def format_velocity(velocity: Velocity) -> str:
    """Return a velocity as text without its zero components."""
    parts = ((velocity[0], "m/s"), (velocity[1], "rad/s"))
    return " and ".join(f"{value:.3g} {unit}" for value, unit in parts if value) or "0 m/s"


@dataclass(frozen=True)
class CommandedMotion:
    """The commanded motion between two moments.

    ``held``: each held velocity with its duration in seconds, without ramps and zero.
    ``distance_m`` (positive forward) and ``angle_rad`` (positive counterclockwise) are the totals.
    ``stopped``: it begins with zero velocity directly after motion.
    """

    held: tuple[tuple[Velocity, float], ...] = ()
    distance_m: float = 0.0
    angle_rad: float = 0.0
    stopped: bool = False

    def __str__(self) -> str:
        if self.stopped and not self.held:
            return "0 m/s at once"
        if not self.held and not self.distance_m and not self.angle_rad:
            return "none"
        held = [
            f"{format_velocity(velocity)} for {seconds:.1f} s" for velocity, seconds in self.held
        ]
        ways = ((self.distance_m, "m"), (self.angle_rad, "rad"))
        total = " and ".join(f"{value:.2f} {unit}" for value, unit in ways if abs(value) >= 0.005)
        return f"{', '.join(held) or 'short'} ({total or 'nothing'} with acceleration and braking)"

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "held": [
                {"mps": velocity[0], "radps": velocity[1], "s": round(seconds, 2)}
                for velocity, seconds in self.held
            ],
            "distance_m": round(self.distance_m, 3),
            "angle_rad": round(self.angle_rad, 3),
            "stopped": self.stopped,
        }


class VelocityRecord:
    """Records every change of the velocity with its time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: deque[tuple[int, Velocity]] = deque(maxlen=_MAX_CHANGES)
        self._last_ns = 0

    def add(self, moment_ns: int, velocity: Velocity) -> None:
        """Add a published velocity."""
        with self._lock:
            self._last_ns = moment_ns
            if not self._changes or self._changes[-1][1] != velocity:
                self._changes.append((moment_ns, velocity))

    @property
    def velocity(self) -> Velocity:
        """The newest velocity; zero before the first."""
        with self._lock:
            return self._changes[-1][1] if self._changes else _ZERO

    def between(self, from_ns: int, to_ns: int | None) -> CommandedMotion:
        """Return the motion from one moment until another; None for no end."""
        before, pieces = self._pieces(from_ns, to_ns)
        held = tuple(
            ((float(velocity[0]), float(velocity[1])), seconds)
            for velocity, seconds in pieces
            if any(velocity) and seconds >= _MIN_HELD_S
        )
        return CommandedMotion(
            held,
            distance_m=sum(velocity[0] * seconds for velocity, seconds in pieces),
            angle_rad=sum(velocity[1] * seconds for velocity, seconds in pieces),
            stopped=any(before) and bool(pieces) and not any(pieces[0][0]),
        )

    def _pieces(
        self, from_ns: int, to_ns: int | None
    ) -> tuple[Velocity, list[tuple[Velocity, float]]]:
        """Return the velocity before, and each later one with its duration in seconds."""
        with self._lock:
            changes, last_ns = list(self._changes), self._last_ns
        to_ns = last_ns if to_ns is None else min(to_ns, last_ns)
        before: Velocity = _ZERO
        pieces: list[tuple[Velocity, float]] = []
        for number, (begun_ns, velocity) in enumerate(changes, start=1):
            end_ns = changes[number][0] if number < len(changes) else last_ns
            if begun_ns < from_ns:
                before = velocity
            lasted_ns = min(end_ns, to_ns) - max(begun_ns, from_ns)
            if lasted_ns > 0:
                pieces.append((velocity, lasted_ns / 1e9))
        return before, pieces
