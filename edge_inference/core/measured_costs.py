"""What operating points cost on one machine, as it was measured.

What was timed in turns makes one measurement. Within it a ratio is exact, however
hot or busy the machine was; between two measurements it is not, for clocks and
load differ. So a ratio is taken from one measurement or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_inference.core.operating_point import EngineConfiguration

#: With fewer runs nothing is said: one pause of the machine would decide.
MINIMUM_RUNS = 10
#: One operating point is faster than another if it takes at most this share of its time;
#: what is nearer may be noise, and is not worth what it loses.
FASTER = 0.95


@dataclass(frozen=True)
class Spread:
    """Seconds of one run: the median, and what 95 % of the runs do not exceed."""

    median_s: float
    p95_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Summarize at least one run."""
        median, p95 = np.percentile(seconds, (50.0, 95.0))
        return cls(float(median), float(p95))


@dataclass(frozen=True)
class Samples:
    """Seconds of each run; ``cpu_s`` is None where CPU time does not tell what a run takes."""

    wall_s: Sequence[float]
    cpu_s: Sequence[float] | None = None


@dataclass(frozen=True)
class Cost:
    """What one run of an operating point takes.

    ``cpu`` is the CPU time of an engine that computes in one thread of the processor: other
    work on the machine does not change it much. It is None for every other engine.
    """

    point: EngineConfiguration
    runs: int
    wall: Spread
    cpu: Spread | None = None

    @property
    def seconds(self) -> float:
        """Seconds of one run on a machine that is not busy otherwise."""
        return (self.cpu or self.wall).median_s


@dataclass(frozen=True)
class Measurement:
    """What was timed in turns. ``by`` names who did, ``taken_s`` is in seconds since the epoch."""

    by: str
    taken_s: float
    costs: tuple[Cost, ...]

    @classmethod
    def of(
        cls, by: str, taken_s: float, samples: Mapping[EngineConfiguration, Samples]
    ) -> Measurement | None:
        """Summarize what ran often enough; None where nothing did."""
        costs = tuple(
            Cost(
                point,
                len(each.wall_s),
                Spread.of(each.wall_s),
                None if each.cpu_s is None else Spread.of(each.cpu_s),
            )
            for point, each in samples.items()
            if len(each.wall_s) >= MINIMUM_RUNS
        )
        return cls(by, taken_s, costs) if costs else None

    def cost(self, point: EngineConfiguration | None) -> Cost | None:
        """Find an operating point."""
        return next((each for each in self.costs if each.point == point), None)

    def supersedes(self, other: Measurement) -> bool:
        """Tell whether this one has all that the other has."""
        return {each.point for each in other.costs} <= {each.point for each in self.costs}


@dataclass(frozen=True)
class MeasuredCosts:
    """All measurements of one machine, the oldest first.

    What was not measured is unknown, as is None, which stands for an operating point whose
    file is not made yet.
    """

    measurements: tuple[Measurement, ...] = ()

    def newest(self, point: EngineConfiguration | None) -> tuple[Cost, Measurement] | None:
        """Return the newest cost of an operating point with its measurement; None unknown."""
        found = ((each.cost(point), each) for each in reversed(self.measurements))
        return next(((cost, each) for cost, each in found if cost is not None), None)

    def cost(self, point: EngineConfiguration | None) -> Cost | None:
        """Return the newest cost of an operating point; None where it is unknown."""
        newest = self.newest(point)
        return None if newest is None else newest[0]

    def ratio(
        self, point: EngineConfiguration | None, base: EngineConfiguration | None
    ) -> float | None:
        """Return the time of an operating point over that of another; None where it is unknown.

        By CPU time where both have one. Both were timed in turns, the last time that they were.
        """
        for measurement in reversed(self.measurements):
            one, other = measurement.cost(point), measurement.cost(base)
            if one is not None and other is not None:
                if one.cpu is not None and other.cpu is not None:
                    return one.cpu.median_s / other.cpu.median_s
                return one.wall.median_s / other.wall.median_s
        return None

    def expected_s(
        self,
        point: EngineConfiguration | None,
        used: EngineConfiguration | None,
        used_s: float | None,
        last_s: float | None = None,
    ) -> float | None:
        """Return the seconds that a run of ``point`` would take now; None where nobody can tell.

        ``used_s`` is what ``used`` takes now: a machine that is hot or busy slows both down
        alike. Where the two were never timed in turns, it is ``last_s``, what ``point`` took
        when it ran here last, or else what was measured once.
        """
        ratio = self.ratio(point, used)
        if ratio is not None and used_s is not None:
            return ratio * used_s
        if last_s is not None:
            return last_s
        cost = self.cost(point)
        return None if cost is None else cost.seconds

    def is_faster(
        self, point: EngineConfiguration | None, base: EngineConfiguration | None
    ) -> bool | None:
        """Tell whether an operating point takes clearly less time than another; None unknown."""
        ratio = self.ratio(point, base)
        return None if ratio is None else ratio <= FASTER

    def of_model(self, model: str) -> list[tuple[Cost, Measurement]]:
        """Return the newest cost of each operating point of a model, with its measurement."""
        found: dict[EngineConfiguration, tuple[Cost, Measurement]] = {}
        for measurement in self.measurements:
            for cost in measurement.costs:
                if cost.point.model == model:
                    found[cost.point] = (cost, measurement)
        return list(found.values())

    def with_new(self, measurement: Measurement, most: int) -> MeasuredCosts:
        """Add a measurement; what it supersedes goes, and the oldest beyond ``most`` costs."""
        kept = [each for each in self.measurements if not measurement.supersedes(each)]
        kept.append(measurement)
        while len(kept) > 1 and sum(len(each.costs) for each in kept) > most:
            del kept[0]
        return MeasuredCosts(tuple(kept))
