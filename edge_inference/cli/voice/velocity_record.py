"""The velocities that went out, told in few words."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from edge_inference.cli.voice.utterance_tracker import Velocity

_STILL: Velocity = (0.0, 0.0)
#: A velocity that lasts for so long is held; shorter ones are steps of a ramp.
_HELD_S = 0.15
#: Only changes are kept: this is enough for the longest plan many times over.
_CHANGES = 4096


def format_velocity(velocity: Velocity) -> str:
    """Return a velocity in words; what is zero is left out."""
    parts = ((velocity[0], "m/s"), (velocity[1], "rad/s"))
    return " and ".join(f"{value:.3g} {unit}" for value, unit in parts if value) or "0 m/s"


@dataclass(frozen=True)
class CommandedMotion:
    """What was commanded between two moments.

    ``held``: each velocity that lasted, and for how many seconds; ramps and zero are left out.
    ``way_m`` (positive ahead) and ``turned_rad`` (to the left) hold for all of it. ``stopped``: it
    begins with zero although the robot was moving just before.
    """

    held: tuple[tuple[Velocity, float], ...] = ()
    way_m: float = 0.0
    turned_rad: float = 0.0
    stopped: bool = False

    def __str__(self) -> str:
        if self.stopped and not self.held:
            return "0 m/s at once"
        if not self.held and not self.way_m and not self.turned_rad:
            return "none"
        held = [
            f"{format_velocity(velocity)} for {seconds:.1f} s" for velocity, seconds in self.held
        ]
        ways = ((self.way_m, "m"), (self.turned_rad, "rad"))
        total = " and ".join(f"{value:.2f} {unit}" for value, unit in ways if abs(value) >= 0.005)
        return f"{', '.join(held) or 'short'} ({total or 'nothing'} with speeding up and braking)"

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "held": [
                {"mps": velocity[0], "radps": velocity[1], "s": round(seconds, 2)}
                for velocity, seconds in self.held
            ],
            "way_m": round(self.way_m, 3),
            "turned_rad": round(self.turned_rad, 3),
            "stopped": self.stopped,
        }


class VelocityRecord:
    """Every change of the velocity and its moment. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: deque[tuple[int, Velocity]] = deque(maxlen=_CHANGES)
        self._last_ns = 0

    def add(self, moment_ns: int, velocity: Velocity) -> None:
        """Take note of a velocity that went out."""
        with self._lock:
            self._last_ns = moment_ns
            if not self._changes or self._changes[-1][1] != velocity:
                self._changes.append((moment_ns, velocity))

    @property
    def velocity(self) -> Velocity:
        """The newest one; zero before the first."""
        with self._lock:
            return self._changes[-1][1] if self._changes else _STILL

    def between(self, from_ns: int, to_ns: int | None) -> CommandedMotion:
        """Return what was commanded from one moment to before another; None for all since."""
        before, pieces = self._pieces(from_ns, to_ns)
        held = tuple(
            ((float(velocity[0]), float(velocity[1])), seconds)
            for velocity, seconds in pieces
            if any(velocity) and seconds >= _HELD_S
        )
        return CommandedMotion(
            held,
            way_m=sum(velocity[0] * seconds for velocity, seconds in pieces),
            turned_rad=sum(velocity[1] * seconds for velocity, seconds in pieces),
            stopped=any(before) and bool(pieces) and not any(pieces[0][0]),
        )

    def _pieces(
        self, from_ns: int, to_ns: int | None
    ) -> tuple[Velocity, list[tuple[Velocity, float]]]:
        """Return the velocity before, and each one since with the seconds that it lasted."""
        with self._lock:
            changes, last_ns = list(self._changes), self._last_ns
        to_ns = last_ns if to_ns is None else min(to_ns, last_ns)
        before: Velocity = _STILL
        pieces: list[tuple[Velocity, float]] = []
        for number, (begun_ns, velocity) in enumerate(changes, start=1):
            end_ns = changes[number][0] if number < len(changes) else last_ns
            if begun_ns < from_ns:
                before = velocity
            lasted_ns = min(end_ns, to_ns) - max(begun_ns, from_ns)
            if lasted_ns > 0:
                pieces.append((velocity, lasted_ns / 1e9))
        return before, pieces
