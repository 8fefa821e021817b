"""A robot in a simulation whose clock stands still, crawls, jumps and runs back while it drives."""

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
from benchmarks.campaign_processes import HANG_S, Outcome
from benchmarks.sides import Side

#: What the robot's process is to be given.
ROS_ARGUMENTS = ("--ros-args", "-p", "use_sim_time:=true")
_START_NS = 10_000_000_000_000
_TICK_S = 0.01
_WATCHED_S = 5.0
#: A robot that has stood for so long at the end stands.
_STANDS_S = 0.5
_HOUR = 3600.0
#: Velocities hold until the next one comes, and these come in turns.
_TOLERANCE_M = 0.1


class Shape(NamedTuple):
    """What a clock shows, in s since it took this shape, so many steady seconds after that."""

    what: str
    reading: Callable[[float], float]
    must_stop: bool = True


SHAPES = (
    Shape("stands still", lambda t: 0.0),
    Shape("crawls", lambda t: t / 20),
    Shape("runs back", lambda t: -t),
    Shape("jumps back an hour", lambda t: t - _HOUR),
    Shape("jumps ahead an hour", lambda t: t + _HOUR),
    Shape("goes to and fro", lambda t: t if int(t * 20) % 2 else t - 1.0),
    Shape("goes at half its pace", lambda t: t / 2, must_stop=False),
    Shape("goes at ten times its pace", lambda t: t * 10, must_stop=False),
    Shape("goes in steps of 0.1 s", lambda t: int(t * 10) / 10, must_stop=False),
)


class Simulation(Driver):
    """Gives the clock that the robot goes by, and has it drive meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = self.node.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        self._shown_ns = _START_NS
        self._begin(lambda t: t)
        self._velocities: list[tuple[float, float]] = []
        threading.Thread(target=self._tick, daemon=True).start()

    def trial(self, number: int) -> tuple[float | None, float]:
        """Drive while the clock takes a shape, and again when it is mended.

        Returns after how many s the robot stood for good (None: not while it was watched), and how
        far it had gone by then, in m.
        """
        self._set_off()
        self._velocities.clear()
        began = time.monotonic()
        self._begin(SHAPES[number].reading)
        time.sleep(_WATCHED_S)
        velocities = [(began, 0.3), *self._velocities, (time.monotonic(), 0.0)]
        self._begin(lambda t: t)
        pieces = list(itertools.pairwise(velocities))
        gone_m = sum(speed * (until - at) for (at, speed), (until, _) in pieces)
        stood_s = max(until for (_, speed), (until, _) in pieces if speed) - began
        self.stops_ms(1)
        return (None if stood_s > _WATCHED_S - _STANDS_S else stood_s), gone_m

    def _begin(self, reading: Callable[[float], float]) -> None:
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


def clocks(simulation: Side, seed: int, count: int) -> Iterator[Outcome]:
    """Try ``count`` shapes of a clock, drawn from all; the robot stands, and obeys again after."""
    simulation.ask("wait_until_heard")
    for number in random.Random(seed).sample(range(len(SHAPES)), min(count, len(SHAPES))):
        shape = SHAPES[number]
        what = f"a clock that {shape.what}"
        try:
            stood_s, gone_m = simulation.ask("trial", number)
        except RuntimeError as error:
            yield Outcome(what, 0.0, f"afterwards: {error}")
            continue
        problem = ""
        if gone_m > DISTANCE_M + _TOLERANCE_M:
            problem = f"the robot went {gone_m:.2f} m of {DISTANCE_M:g} m"
        elif shape.must_stop and stood_s is None:
            problem = "the robot went on"
        elif shape.must_stop and stood_s > HANG_S:
            problem = f"it took {stood_s:.1f} s until the robot stood"
        yield Outcome(what, stood_s or 0.0, problem)
