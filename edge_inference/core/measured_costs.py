"""Measured inference times of engine configurations on one machine.

One measurement holds configurations that were timed interleaved. Within a measurement a
ratio of two times is exact, however hot or busy the machine was. Between two measurements it
is not, because clocks and load differ. A ratio therefore always comes from one measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_inference.core.engine_configuration import EngineConfiguration

#: Fewer runs give no cost: one pause of the machine would decide it.
MINIMUM_RUNS = 10
#: A configuration is faster than another if it takes at most this share of its time. A smaller
#: gain may be noise and does not pay for the lost accuracy.
FASTER = 0.95


@dataclass(frozen=True)
class Spread:
    """Seconds of one run: the median and the 95th percentile."""

    median_s: float
    p95_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Summarize at least one run."""
        median, p95 = np.percentile(seconds, (50.0, 95.0))
        return cls(float(median), float(p95))


@dataclass(frozen=True)
class Samples:
    """Seconds of each run; ``cpu_s`` is None where the CPU time of the thread has no meaning."""

    wall_s: Sequence[float]
    cpu_s: Sequence[float] | None = None


@dataclass(frozen=True)
class Cost:
    """The time of one run of a configuration.

    ``cpu`` is the CPU time of an engine that computes in one thread of the CPU: other load on
    the machine hardly changes it. It is None for every other engine.
    """

    configuration: EngineConfiguration
    runs: int
    wall: Spread
    cpu: Spread | None = None

    @property
    def seconds(self) -> float:
        """Seconds of one run on a machine without other load."""
        return (self.cpu or self.wall).median_s


@dataclass(frozen=True)
class Measurement:
    """Costs that were timed interleaved.

    ``by`` names the program part that measured, ``taken_s`` is in seconds since the epoch.
    """

    by: str
    taken_s: float
    costs: tuple[Cost, ...]

    @classmethod
    def of(
        cls, by: str, taken_s: float, samples: Mapping[EngineConfiguration, Samples]
    ) -> Measurement | None:
        """Summarize the configurations with enough runs; None where there are none."""
        costs = tuple(
            Cost(
                configuration,
                len(each.wall_s),
                Spread.of(each.wall_s),
                None if each.cpu_s is None else Spread.of(each.cpu_s),
            )
            for configuration, each in samples.items()
            if len(each.wall_s) >= MINIMUM_RUNS
        )
        return cls(by, taken_s, costs) if costs else None

    def cost(self, configuration: EngineConfiguration | None) -> Cost | None:
        """Return the cost of a configuration, None where it was not measured."""
        return next((each for each in self.costs if each.configuration == configuration), None)

    def supersedes(self, other: Measurement) -> bool:
        """Tell whether this measurement has every configuration of the other."""
        return {each.configuration for each in other.costs} <= {
            each.configuration for each in self.costs
        }


@dataclass(frozen=True)
class MeasuredCosts:
    """All measurements of one machine, the oldest first.

    The cost of a configuration that was not measured is unknown. None stands for a
    configuration whose file does not exist yet; its cost is unknown too.
    """

    measurements: tuple[Measurement, ...] = ()

    def newest(self, configuration: EngineConfiguration | None) -> tuple[Cost, Measurement] | None:
        """Return the newest cost of a configuration with its measurement; None if unknown."""
        found = ((each.cost(configuration), each) for each in reversed(self.measurements))
        return next(((cost, each) for cost, each in found if cost is not None), None)

    def cost(self, configuration: EngineConfiguration | None) -> Cost | None:
        """Return the newest cost of a configuration; None if unknown."""
        newest = self.newest(configuration)
        return None if newest is None else newest[0]

    def ratio(
        self, configuration: EngineConfiguration | None, base: EngineConfiguration | None
    ) -> float | None:
        """Return the time of a configuration divided by that of ``base``; None if unknown.

        The ratio comes from the newest measurement of both, by CPU time where both have one.
        """
        for measurement in reversed(self.measurements):
            one, other = measurement.cost(configuration), measurement.cost(base)
            if one is not None and other is not None:
                if one.cpu is not None and other.cpu is not None:
                    return one.cpu.median_s / other.cpu.median_s
                return one.wall.median_s / other.wall.median_s
        return None

    def expected_s(
        self,
        configuration: EngineConfiguration | None,
        used: EngineConfiguration | None,
        used_s: float | None,
        last_s: float | None = None,
    ) -> float | None:
        """Return the expected seconds of a run of ``configuration`` now; None if unknown.

        ``used_s`` is the present time of ``used``: a hot or busy machine slows both down alike.
        Without a measurement of both the result is ``last_s``, the time of ``configuration``
        when it served last, or else its newest cost.
        """
        ratio = self.ratio(configuration, used)
        if ratio is not None and used_s is not None:
            return ratio * used_s
        if last_s is not None:
            return last_s
        cost = self.cost(configuration)
        return None if cost is None else cost.seconds

    def is_faster(
        self, configuration: EngineConfiguration | None, base: EngineConfiguration | None
    ) -> bool | None:
        """Tell whether a configuration takes clearly less time than ``base``; None if unknown."""
        ratio = self.ratio(configuration, base)
        return None if ratio is None else ratio <= FASTER

    def newest_of_model(self, model: str) -> list[tuple[Cost, Measurement]]:
        """Return the newest cost of each configuration of a model, with its measurement."""
        found: dict[EngineConfiguration, tuple[Cost, Measurement]] = {}
        for measurement in self.measurements:
            for cost in measurement.costs:
                if cost.configuration.model == model:
                    found[cost.configuration] = (cost, measurement)
        return list(found.values())

    def with_measurement(self, measurement: Measurement, max_costs: int) -> MeasuredCosts:
        """Add a measurement; drop superseded ones, and the oldest beyond ``max_costs`` costs."""
        kept = [each for each in self.measurements if not measurement.supersedes(each)]
        kept.append(measurement)
        while len(kept) > 1 and sum(len(each.costs) for each in kept) > max_costs:
            del kept[0]
        return MeasuredCosts(tuple(kept))
