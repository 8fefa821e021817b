"""A simulated inference node: obeys directives as the real one, and takes power."""

from __future__ import annotations

import random
from dataclasses import dataclass

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLimits,
    OperatingPoint,
    Workload,
    is_within_ceiling,
)


@dataclass(frozen=True)
class SimulatedEngine:
    """One engine: its accuracy, and the energy and time of one inference."""

    precision: str
    accuracy: float
    joules: float
    seconds: float


@dataclass(frozen=True)
class SimulatedNodeParameters:
    """A node: what it is offered and how fast it follows a directive."""

    name: str
    engines: tuple[SimulatedEngine, ...]
    demand_hz: float
    minimum_rate_hz: float
    priority: int = 0
    safety_critical: bool = False
    follows_after_s: float = 0.5
    changes_engine_in_s: float = 2.0


class SimulatedNode:
    """Serves with one engine at a time; the old one serves while the next one is made ready."""

    #: The rate that a node reports is smoothed over this time.
    _REPORTS_OVER_S = 2.0

    def __init__(self, parameters: SimulatedNodeParameters, chance: random.Random) -> None:
        """Start with the first engine at full rate."""
        self.parameters = parameters
        self.demand_hz = parameters.demand_hz
        self.engine = 0
        self.engine_changes = 0
        self._chance = chance
        self._measured: list[float | None] = [None] * len(parameters.engines)
        self._limits = DirectiveLimits()
        self._in_force: Directive | None = None
        self._next: tuple[float, Directive] | None = None
        self._next_engine: tuple[float, int] | None = None
        self._reported_hz = 0.0
        self._time_s = 0.0

    @property
    def rate_hz(self) -> float:
        """Inferences per second right now."""
        most = 1.0 / self.parameters.engines[self.engine].seconds
        asked = self._limits.max_rate_hz
        return min(self.demand_hz, most, self.demand_hz if asked is None else asked)

    @property
    def power_w(self) -> float:
        """Power that the inferences take."""
        return self.rate_hz * self.parameters.engines[self.engine].joules

    @property
    def utility(self) -> float:
        """Accurate inferences per second."""
        return self.rate_hz * self.parameters.engines[self.engine].accuracy

    @property
    def is_slowest(self) -> bool:
        """Tell whether the rate is the least that the node can do with."""
        return self.rate_hz <= self.parameters.minimum_rate_hz + 1e-6

    @property
    def is_at_least(self) -> bool:
        """Tell whether the engine is the last one, too."""
        return self.is_slowest and self.engine == len(self.parameters.engines) - 1

    def hear(self, directive: Directive) -> None:
        """Take over a directive a little later; a critical node refuses to be limited."""
        newest = self._next[1] if self._next else self._in_force
        if newest is not None and newest.id == directive.id:
            return
        follows_s = self._next[0] if self._next else self._time_s + self.parameters.follows_after_s
        self._next = (follows_s, directive)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._time_s += seconds
        if self._next and self._time_s >= self._next[0]:
            self._obey(self._next[1])
            self._next = None
        if self._next_engine and self._time_s >= self._next_engine[0]:
            self.engine = self._next_engine[1]
            self.engine_changes += 1
            self._next_engine = None
        weight = min(1.0, seconds / self._REPORTS_OVER_S)
        self._reported_hz += weight * (self.rate_hz - self._reported_hz)
        self._measured[self.engine] = self.parameters.engines[self.engine].seconds * 1e3

    def workload(self) -> Workload:
        """Return what the node reports of itself. An engine that never ran has no time."""
        its = self.parameters
        noise = self._chance.gauss
        operating_points = tuple(
            OperatingPoint(
                "model", engine.precision, engine.accuracy, ms and ms * (1 + noise(0.0, 0.02))
            )
            for engine, ms in zip(its.engines, self._measured, strict=True)
        )
        return Workload(
            node=its.name,
            priority=its.priority,
            safety_critical=its.safety_critical,
            demand_hz=self.demand_hz * (1 + noise(0.0, 0.01)),
            rate_hz=self._reported_hz * (1 + noise(0.0, 0.01)),
            minimum_rate_hz=its.minimum_rate_hz,
            batch=1,
            operating_points=operating_points,
            operating_point=self.engine,
            directive_id=self._in_force.id if self._in_force else 0,
            manager="",
            limits=self._limits,
            obeys="directive" if self._in_force else "nothing",
        )

    def _obey(self, directive: Directive) -> None:
        self._in_force = directive
        if self.parameters.safety_critical:
            return
        self._limits = directive.limits
        engines = self.parameters.engines
        wanted = next(
            index
            for index, engine in enumerate(engines)
            if is_within_ceiling(engine.precision, directive.limits.precision_ceiling)
        )
        if wanted == self.engine:
            self._next_engine = None
        elif self._next_engine is None or self._next_engine[1] != wanted:
            ready_s = self._time_s + self.parameters.changes_engine_in_s
            self._next_engine = (ready_s, wanted)
