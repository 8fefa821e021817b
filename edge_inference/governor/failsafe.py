"""Temperature bounds, and the choice of the temperatures that the governor can rely on.

The bounds of a zone are the user's own numbers or follow from the board's trip points. When no
temperature is reliable for ``sensor_timeout_s``, the governor goes to the safe level.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import (
    PLAUSIBLE_TRIP_C,
    Quantity,
    Reading,
    ReadingStatus,
    Role,
)
from edge_inference.governor.settings import GovernorSettings

#: A board without a throttle trip point starts to throttle about this far below the critical one.
_THROTTLE_BEFORE_CRITICAL_C = 6.0
#: A lost zone lowers the bounds of the other zones by at most this much.
_MAX_LOWERED_C = 15.0


@dataclass(frozen=True)
class TemperatureBounds:
    """The governor reduces from ``throttle_c`` on; the temperature must not exceed ``max_c``."""

    throttle_c: float
    max_c: float

    def lower(self, by_c: float) -> TemperatureBounds:
        """Return bounds that are lower by ``by_c``."""
        return TemperatureBounds(self.throttle_c - by_c, self.max_c - by_c)


class SensorCoverage(enum.Enum):
    """How well the temperature of the machine is known."""

    SENSED = "sensed"
    #: No temperature for less than the timeout: the last directives stay in force.
    WAITING = "waiting"
    #: There never was a temperature, and the user has allowed that.
    UNMONITORED = "unmonitored"
    LOST = "lost"


@dataclass(frozen=True)
class ZoneTemperature:
    """The temperature of one control zone, and its bounds."""

    name: str
    temperature_c: float
    bounds: TemperatureBounds

    @property
    def margin_c(self) -> float:
        """Distance below the limit; negative above it."""
        return self.bounds.max_c - self.temperature_c


@dataclass(frozen=True)
class SensorView:
    """The usable temperatures of one moment; ``lost`` names the control zones without a value."""

    coverage: SensorCoverage
    zones: tuple[ZoneTemperature, ...] = ()
    lost: tuple[str, ...] = ()
    problem: str = ""


class SensorWatch:
    """Remembers the known zones and reports a lost one; a gated zone is not lost."""

    def __init__(self) -> None:
        """Start without known zones."""
        #: For each known zone: how much nearer to its limit than the next zone it last was.
        self._leads_c: dict[str, float] = {}
        self._last_ns: int | None = None
        self._lost_since_ns: int | None = None
        self._back_since_ns: int | None = None

    def update(self, state: PlatformState, now_ns: int, settings: GovernorSettings) -> SensorView:
        """Evaluate one state of the sensors."""
        timeout_ns = int(settings.sensor_timeout_s * 1e9)
        control = [each for each in state.by_role(Role.CONTROL) if _is_temperature(each)]
        usable = [each for each in control if _is_usable(each, now_ns, timeout_ns)]
        zones = [
            ZoneTemperature(each.name, each.value, temperature_bounds(each, settings))
            for each in usable
            if each.value is not None
        ]
        # A limit of its own tells that a sensor is of something else, such as a battery: it says
        # nothing about a processor whose temperatures are lost, or not found yet.
        own = [each for each in control if each.limit is None]
        if not own and not state.problem:  # this machine surely has no other one
            own = control
        stamps_ns = [each.stamp_ns for each in usable if each in own]
        if not stamps_ns:
            return self._view_without_zones(control, now_ns, timeout_ns, settings)
        self._last_ns = max(stamps_ns)
        gated = {each.name for each in control if each.status is ReadingStatus.GATED}
        self._remember(zones)
        present = {zone.name for zone in zones} | gated
        lost = tuple(sorted(name for name in self._leads_c if name not in present))
        if self._is_recovering(now_ns, timeout_ns):
            return SensorView(
                SensorCoverage.LOST, problem="temperatures have come back only just now"
            )
        lowered_c = max((self._leads_c[name] for name in lost), default=0.0)
        if lowered_c > 0.0:
            zones = [
                ZoneTemperature(zone.name, zone.temperature_c, zone.bounds.lower(lowered_c))
                for zone in zones
            ]
        problem = _describe_lost(lost, lowered_c)
        return SensorView(SensorCoverage.SENSED, tuple(zones), lost, problem)

    def _view_without_zones(
        self, control: list[Reading], now_ns: int, timeout_ns: int, settings: GovernorSettings
    ) -> SensorView:
        self._back_since_ns = None
        lost = tuple(sorted({*self._leads_c, *(each.name for each in control)}))
        causes = _describe_causes(control)
        if self._last_ns is None:
            if settings.allow_unmonitored:
                return SensorView(
                    SensorCoverage.UNMONITORED, problem="no control temperature was ever read"
                )
            return SensorView(
                SensorCoverage.LOST, lost=lost, problem=f"no control temperature{causes}"
            )
        away_ns = now_ns - self._last_ns
        if self._lost_since_ns is None and 0 <= away_ns < timeout_ns:
            return SensorView(
                SensorCoverage.WAITING, lost=lost, problem=f"no temperature right now{causes}"
            )
        self._lost_since_ns = self._lost_since_ns or now_ns
        return SensorView(
            SensorCoverage.LOST, lost=lost, problem=f"all temperatures are lost{causes}"
        )

    def _remember(self, zones: list[ZoneTemperature]) -> None:
        margins = sorted(zone.margin_c for zone in zones)
        for zone in zones:
            self._leads_c.setdefault(zone.name, 0.0)
            if len(zones) > 1:
                other = margins[1] if zone.margin_c == margins[0] else margins[0]
                self._leads_c[zone.name] = min(_MAX_LOWERED_C, max(0.0, other - zone.margin_c))

    def _is_recovering(self, now_ns: int, timeout_ns: int) -> bool:
        """Tell whether lost temperatures have not been back for the whole timeout yet."""
        if self._lost_since_ns is None:
            return False
        if self._back_since_ns is None or now_ns < self._back_since_ns:
            self._back_since_ns = now_ns
        if now_ns - self._back_since_ns < timeout_ns:
            return True
        self._lost_since_ns = self._back_since_ns = None
        return False


def temperature_bounds(reading: Reading, settings: GovernorSettings) -> TemperatureBounds:
    """Return the bounds of one temperature, at most up to the user's limit for it."""
    bounds = _general_bounds(reading, settings)
    if reading.limit is None or reading.limit >= bounds.max_c:
        return bounds
    return bounds.lower(bounds.max_c - reading.limit)


def _general_bounds(reading: Reading, settings: GovernorSettings) -> TemperatureBounds:
    """Return the bounds of the board; without a trip point, the absolute ones."""
    absolute = TemperatureBounds(settings.throttle_c, settings.max_c)
    if settings.limits_from != "board":
        return absolute
    trip_c = _throttle_trip(reading)
    if trip_c is None:
        return absolute
    max_c = trip_c - settings.trip_margin_c
    return TemperatureBounds(max_c - (settings.max_c - settings.throttle_c), max_c)


def _throttle_trip(reading: Reading) -> float | None:
    if _is_plausible(reading.throttle):
        return reading.throttle
    if reading.critical is not None and _is_plausible(reading.critical):
        return reading.critical - _THROTTLE_BEFORE_CRITICAL_C
    return None


def _is_plausible(trip_c: float | None) -> bool:
    lowest, highest = PLAUSIBLE_TRIP_C
    return trip_c is not None and lowest <= trip_c <= highest


def _is_temperature(reading: Reading) -> bool:
    return reading.quantity is Quantity.TEMPERATURE


def _is_usable(reading: Reading, now_ns: int, timeout_ns: int) -> bool:
    """Tell whether a reading has a finite value and a recent stamp."""
    value = reading.value
    is_number = value is not None and math.isfinite(value)
    return is_number and abs(now_ns - reading.stamp_ns) <= timeout_ns


def _describe_causes(control: list[Reading]) -> str:
    causes = [f"{each.name} {each.problem or each.status.value}" for each in control]
    return f" ({'; '.join(causes)})" if causes else ""


def _describe_lost(lost: tuple[str, ...], lowered_c: float) -> str:
    if not lost:
        return ""
    names = f"without {', '.join(lost)}"
    return f"{names}, limits {lowered_c:.1f} °C lower instead" if lowered_c > 0.0 else names
