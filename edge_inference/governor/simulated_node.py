"""A simulated inference node: follows directives as the real one does, and takes power."""

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
    """An engine: its precision and accuracy, and the energy and duration of one inference."""

    precision: str
    accuracy: float
    joules: float
    seconds: float


@dataclass(frozen=True)
class SimulatedNodeParameters:
    """A node: its engines, its demand, and how fast it follows a directive."""

    name: str
    engines: tuple[SimulatedEngine, ...]
    demand_hz: float
    minimum_rate_hz: float
    priority: int = 0
    safety_critical: bool = False
    response_s: float = 0.5
    engine_change_s: float = 2.0


class SimulatedNode:
    """Serves with one engine at a time; it keeps the old one until the next one is ready."""

    #: The reported rate is smoothed over this time.
    _SMOOTH_S = 2.0

    def __init__(self, parameters: SimulatedNodeParameters, rng: random.Random) -> None:
        """Start with the first engine at the full rate."""
        self.parameters = parameters
        self.demand_hz = parameters.demand_hz
        self.engine = 0
        self.engine_changes = 0
        self._rng = rng
        self._measured: list[float | None] = [None] * len(parameters.engines)
        self._limits = DirectiveLimits()
        self._directive: Directive | None = None
        self._next: tuple[float, Directive] | None = None
        self._next_engine: tuple[float, int] | None = None
        self._reported_hz = 0.0
        self._time_s = 0.0

    @property
    def rate_hz(self) -> float:
        """The present rate of inferences."""
        possible = 1.0 / self.parameters.engines[self.engine].seconds
        allowed = self._limits.max_rate_hz
        return min(self.demand_hz, possible, self.demand_hz if allowed is None else allowed)

    @property
    def power_w(self) -> float:
        """The power of the inferences."""
        return self.rate_hz * self.parameters.engines[self.engine].joules

    @property
    def utility(self) -> float:
        """The rate of inferences times their accuracy."""
        return self.rate_hz * self.parameters.engines[self.engine].accuracy

    @property
    def is_at_minimum_rate(self) -> bool:
        """Tell whether the rate is the minimum rate of the node."""
        return self.rate_hz <= self.parameters.minimum_rate_hz + 1e-6

    @property
    def is_at_minimum(self) -> bool:
        """Tell whether the rate is the minimum rate and the engine the cheapest one."""
        return self.is_at_minimum_rate and self.engine == len(self.parameters.engines) - 1

    def receive(self, directive: Directive) -> None:
        """Follow a directive after a short delay; a critical node refuses to be limited."""
        newest = self._next[1] if self._next else self._directive
        if newest is not None and newest.id == directive.id:
            return
        follows_s = self._next[0] if self._next else self._time_s + self.parameters.response_s
        self._next = (follows_s, directive)

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self._time_s += seconds
        if self._next and self._time_s >= self._next[0]:
            self._apply(self._next[1])
            self._next = None
        if self._next_engine and self._time_s >= self._next_engine[0]:
            self.engine = self._next_engine[1]
            self.engine_changes += 1
            self._next_engine = None
        weight = min(1.0, seconds / self._SMOOTH_S)
        self._reported_hz += weight * (self.rate_hz - self._reported_hz)
        self._measured[self.engine] = self.parameters.engines[self.engine].seconds * 1e3

    def workload(self) -> Workload:
        """Return the report of the node. An engine that never ran has no duration."""
        its = self.parameters
        noise = self._rng.gauss
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
            directive_id=self._directive.id if self._directive else 0,
            manager="",
            limits=self._limits,
            limits_source="directive" if self._directive else "nothing",
        )

    def _apply(self, directive: Directive) -> None:
        self._directive = directive
        if self.parameters.safety_critical:
            return
        self._limits = directive.limits
        engines = self.parameters.engines
        allowed = next(
            index
            for index, engine in enumerate(engines)
            if is_within_ceiling(engine.precision, directive.limits.precision_ceiling)
        )
        if allowed == self.engine:
            self._next_engine = None
        elif self._next_engine is None or self._next_engine[1] != allowed:
            ready_s = self._time_s + self.parameters.engine_change_s
            self._next_engine = (ready_s, allowed)
