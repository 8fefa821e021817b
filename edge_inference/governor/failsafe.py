"""Which temperatures can be relied on, and what holds when none can."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.governor.limits import TemperatureBounds, bounds_of
from edge_inference.governor.settings import GovernorSettings

#: The limits of the zones that are left come down by at most this much for one that is lost.
_MOST_LOWERED_C = 15.0


class SensorCoverage(enum.Enum):
    """How well the machine's heat is known."""

    SENSED = "sensed"
    #: Nothing right now, but not for long: what was decided holds, and nothing is given back.
    WAITING = "waiting"
    #: There never was a temperature, and the user has allowed that.
    UNMONITORED = "unmonitored"
    LOST = "lost"


@dataclass(frozen=True)
class ZoneTemperature:
    """One temperature that decides, and its bounds."""

    name: str
    temperature_c: float
    bounds: TemperatureBounds

    @property
    def below_max_c(self) -> float:
        """How far below its limit."""
        return self.bounds.max_c - self.temperature_c


@dataclass(frozen=True)
class SensorView:
    """What is known of the machine's heat; ``lost`` names zones that ought to be there."""

    sight: SensorCoverage
    heats: tuple[ZoneTemperature, ...] = ()
    lost: tuple[str, ...] = ()
    problem: str = ""

    @property
    def hottest(self) -> ZoneTemperature | None:
        """The one nearest to its limit, or furthest above it."""
        return min(self.heats, key=lambda heat: heat.below_max_c, default=None)


@dataclass
class _Zone:
    seen_ns: int
    #: How much nearer to its limit than the nearest of the others it was when last seen.
    ahead_c: float = 0.0


class SensorWatch:
    """Remembers which zones there were; a zone that is gated is not missed."""

    def __init__(self) -> None:
        """Start without having seen any."""
        self._zones: dict[str, _Zone] = {}
        self._last_ns: int | None = None
        self._lost_since_ns: int | None = None
        self._back_since_ns: int | None = None

    def look(self, state: PlatformState, now_ns: int, settings: GovernorSettings) -> SensorView:
        """Judge one look at the sensors."""
        timeout_ns = int(settings.sensor_timeout_s * 1e9)
        control = [each for each in state.by_role(Role.CONTROL) if _is_temperature(each)]
        usable = [each for each in control if _is_usable(each, now_ns, timeout_ns)]
        heats = [
            ZoneTemperature(each.name, each.value, bounds_of(each, settings))
            for each in usable
            if each.value is not None
        ]
        if not heats:
            return self._blind(control, now_ns, timeout_ns, settings)
        self._last_ns = max(each.stamp_ns for each in usable)
        gated = {each.name for each in control if each.status is ReadingStatus.GATED}
        self._remember(heats, now_ns)
        lost = self._missing({heat.name for heat in heats} | gated)
        if self._still_recovering(now_ns, timeout_ns):
            return SensorView(
                SensorCoverage.LOST, problem="temperatures have come back only just now"
            )
        lowered = max((self._zones[name].ahead_c for name in lost), default=0.0)
        if lowered > 0.0:
            heats = [
                ZoneTemperature(heat.name, heat.temperature_c, heat.bounds.lowered(lowered))
                for heat in heats
            ]
        return SensorView(SensorCoverage.SENSED, tuple(heats), lost, _about_lost(lost, lowered))

    def _blind(
        self, control: list[Reading], now_ns: int, timeout_ns: int, settings: GovernorSettings
    ) -> SensorView:
        self._back_since_ns = None
        lost = tuple(sorted({*self._zones, *(each.name for each in control)}))
        if self._last_ns is None:
            if settings.allow_unmonitored:
                return SensorView(
                    SensorCoverage.UNMONITORED, problem="no temperature that decides was ever read"
                )
            return SensorView(
                SensorCoverage.LOST, lost=lost, problem=f"no temperature to go by{_why(control)}"
            )
        away_ns = now_ns - self._last_ns
        if self._lost_since_ns is None and 0 <= away_ns < timeout_ns:
            return SensorView(
                SensorCoverage.WAITING, lost=lost, problem=f"no temperature{_why(control)}"
            )
        self._lost_since_ns = self._lost_since_ns or now_ns
        return SensorView(
            SensorCoverage.LOST, lost=lost, problem=f"no temperature any more{_why(control)}"
        )

    def _remember(self, heats: list[ZoneTemperature], now_ns: int) -> None:
        nearest = sorted(heat.below_max_c for heat in heats)
        for heat in heats:
            zone = self._zones.setdefault(heat.name, _Zone(now_ns))
            zone.seen_ns = now_ns
            if len(heats) > 1:
                other = nearest[1] if heat.below_max_c == nearest[0] else nearest[0]
                zone.ahead_c = min(_MOST_LOWERED_C, max(0.0, other - heat.below_max_c))

    def _missing(self, there: set[str]) -> tuple[str, ...]:
        return tuple(sorted(name for name in self._zones if name not in there))

    def _still_recovering(self, now_ns: int, timeout_ns: int) -> bool:
        """Tell whether temperatures that were lost have not been back for long enough."""
        if self._lost_since_ns is None:
            return False
        if self._back_since_ns is None or now_ns < self._back_since_ns:
            self._back_since_ns = now_ns
        if now_ns - self._back_since_ns < timeout_ns:
            return True
        self._lost_since_ns = self._back_since_ns = None
        return False


def _is_temperature(reading: Reading) -> bool:
    return reading.quantity is Quantity.TEMPERATURE


def _is_usable(reading: Reading, now_ns: int, timeout_ns: int) -> bool:
    """Tell whether a reading has a value that can be true, and is not of another time."""
    value = reading.value
    is_number = value is not None and math.isfinite(value)
    return is_number and abs(now_ns - reading.stamp_ns) <= timeout_ns


def _why(control: list[Reading]) -> str:
    words = [f"{each.name} {each.problem or each.status.value}" for each in control]
    return f" ({'; '.join(words)})" if words else ""


def _about_lost(lost: tuple[str, ...], lowered: float) -> str:
    if not lost:
        return ""
    words = f"without {', '.join(lost)}"
    return f"{words}, limits {lowered:.1f} °C lower instead" if lowered > 0.0 else words
