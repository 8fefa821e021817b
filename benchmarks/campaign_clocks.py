"""A driving robot whose simulated clock stands still, crawls, jumps or runs back."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from benchmarks.campaign_flood import DISTANCE_M, Driver
from benchmarks.campaign_processes import HANG_S, TrialResult
from benchmarks.sides import Side

#: Arguments of the robot's process.
ROS_ARGUMENTS = ("--ros-args", "-p", "use_sim_time:=true")
_START_NS = 10_000_000_000_000
_TICK_S = 0.01
_TRIAL_S = 5.0
#: The robot counts as stopped if it has stood for so long at the end of a trial.
_AT_REST_S = 0.5
_HOUR = 3600.0
#: A velocity holds until the next one, and these arrive at intervals.
_TOLERANCE_M = 0.1


class Shape(NamedTuple):
    """A clock: ``reading`` maps steady seconds since its start to the seconds that it shows."""

    what: str
    reading: Callable[[float], float]
    must_stop: bool = True


SHAPES = (
    Shape("stands still", lambda t: 0.0),
    Shape("crawls", lambda t: t / 20),
    Shape("runs back", lambda t: -t),
    Shape("jumps back an hour", lambda t: t - _HOUR),
    Shape("jumps ahead an hour", lambda t: t + _HOUR),
    Shape("goes back and forth", lambda t: t if int(t * 20) % 2 else t - 1.0),
    Shape("runs at half its rate", lambda t: t / 2, must_stop=False),
    Shape("runs at ten times its rate", lambda t: t * 10, must_stop=False),
    Shape("advances in steps of 0.1 s", lambda t: int(t * 10) / 10, must_stop=False),
)


class Simulation(Driver):
    """Publishes the robot's clock and drives the robot."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = self.node.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        self._shown_ns = _START_NS
        self._set_shape(lambda t: t)
        self._velocities: list[tuple[float, float]] = []
        threading.Thread(target=self._tick, daemon=True).start()

    def trial(self, number: int) -> tuple[float | None, float]:
        """Drive with a faulty clock, and again with a correct one.

        Returns the seconds until the robot stopped for good (None if it did not during the trial),
        and the distance until then in m.
        """
        self._set_off()
        self._velocities.clear()
        began = time.monotonic()
        self._set_shape(SHAPES[number].reading)
        time.sleep(_TRIAL_S)
        velocities = [(began, 0.3), *self._velocities, (time.monotonic(), 0.0)]
        self._set_shape(lambda t: t)
        pieces = list(itertools.pairwise(velocities))
        distance_m = sum(speed * (until - at) for (at, speed), (until, _) in pieces)
        stop_s = max(until for (_, speed), (until, _) in pieces if speed) - began
        self.stops_ms(1)
        return (None if stop_s > _TRIAL_S - _AT_REST_S else stop_s), distance_m

    def _set_shape(self, reading: Callable[[float], float]) -> None:
        self._shape = (reading, self._shown_ns, time.monotonic())

    def _tick(self) -> None:
        while not self._closing.is_set():
            reading, from_ns, began = self._shape
            self._shown_ns = from_ns + int(reading(time.monotonic() - began) * 1e9)
            seconds, nanoseconds = divmod(self._shown_ns, 1_000_000_000)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))
            time.sleep(_TICK_S)

    def _now_ns(self) -> int:
        return self._shown_ns

    def _on_velocity(self, velocity: Twist) -> None:
        self._velocities.append((time.monotonic(), velocity.linear.x))
        super()._on_velocity(velocity)


def clocks(simulation: Side, seed: int, count: int) -> Iterator[TrialResult]:
    """Try ``count`` random clocks; the robot must stop, and must drive again afterwards."""
    simulation.ask("wait_for_subscribers")
    for number in random.Random(seed).sample(range(len(SHAPES)), min(count, len(SHAPES))):
        shape = SHAPES[number]
        what = f"a clock that {shape.what}"
        try:
            stop_s, distance_m = simulation.ask("trial", number)
        except RuntimeError as error:
            yield TrialResult(what, 0.0, f"afterwards: {error}")
            continue
        problem = ""
        if distance_m > DISTANCE_M + _TOLERANCE_M:
            problem = f"the robot went {distance_m:.2f} m of {DISTANCE_M:g} m"
        elif shape.must_stop and stop_s is None:
            problem = "the robot did not stop"
        elif shape.must_stop and stop_s > HANG_S:
            problem = f"it took {stop_s:.1f} s until the robot stopped"
        yield TrialResult(what, stop_s or 0.0, problem)
