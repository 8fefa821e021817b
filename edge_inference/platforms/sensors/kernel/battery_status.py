"""Decides what a battery does, where its driver is silent, lags or contradicts itself.

By the kernel's rule a power or current is negative while a battery discharges, but many drivers
report it without a sign. So only a negative one tells a direction. A status tells one too if it
is "Charging" or "Discharging"; it may lag behind a plug that was pulled. Where these do not agree
or say nothing, the external power decides: a machine without it runs on its batteries.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from edge_inference.core.reading import BatteryStatus

_STATUSES = {
    "charging": BatteryStatus.CHARGING,
    "discharging": BatteryStatus.DISCHARGING,
    "not charging": BatteryStatus.NOT_CHARGING,
    "full": BatteryStatus.FULL,
}


class ExternalPower(enum.Enum):
    """Whether a charger or a supply from outside feeds the machine."""

    ONLINE = "online"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class Flow(enum.Enum):
    """The sign of the power or current that a driver reports."""

    ZERO = "0"
    NEGATIVE = "negative"
    #: Either way, because many drivers report no sign.
    POSITIVE = "without a sign"
    UNKNOWN = "unknown"


def parse_status(text: str) -> BatteryStatus | None:
    """Return a driver's status; None if it is "Unknown" or none at all."""
    return _STATUSES.get(text.strip().lower())


def decide_status(
    says: BatteryStatus | None,
    flow: Flow,
    external: ExternalPower,
    does_another_discharge: Callable[[], bool],
) -> BatteryStatus | None:
    """Return what a battery does; None if that cannot be known.

    ``says`` is the status of its driver. ``does_another_discharge`` tells whether another battery
    says that it discharges; it is called only where that matters.
    """
    match says:
        case BatteryStatus.DISCHARGING:
            return says  # also beside a charger, which may be too weak
        case BatteryStatus.CHARGING:
            return _decide_charging(flow, external, does_another_discharge)
        case BatteryStatus.FULL | BatteryStatus.NOT_CHARGING:
            return _decide_idle(says, flow, external, does_another_discharge)
        case _:
            return _decide_silent(flow, external, does_another_discharge)


def _decide_charging(
    flow: Flow, external: ExternalPower, does_another_discharge: Callable[[], bool]
) -> BatteryStatus | None:
    if flow is Flow.NEGATIVE:
        return {
            ExternalPower.ONLINE: BatteryStatus.CHARGING,  # the driver has the opposite sign
            ExternalPower.OFFLINE: BatteryStatus.DISCHARGING,  # its status lags
            ExternalPower.UNKNOWN: None,
        }[external]
    if external is ExternalPower.OFFLINE and not does_another_discharge():
        return None  # from what? A charger that Linux does not know, or a status that lags
    return BatteryStatus.CHARGING


def _decide_idle(
    says: BatteryStatus,
    flow: Flow,
    external: ExternalPower,
    does_another_discharge: Callable[[], bool],
) -> BatteryStatus | None:
    """Decide for a driver that says that its battery neither charges nor discharges."""
    if external is ExternalPower.ONLINE:
        return says
    if external is ExternalPower.UNKNOWN:
        discharges = BatteryStatus.DISCHARGING if flow is Flow.NEGATIVE else None
        return says if flow in (Flow.ZERO, Flow.UNKNOWN) else discharges
    if flow in (Flow.NEGATIVE, Flow.POSITIVE):
        return BatteryStatus.DISCHARGING
    if does_another_discharge():
        return says
    # Something must feed the machine. A battery that reports no power at all may do it.
    return None if flow is Flow.ZERO else BatteryStatus.DISCHARGING


def _decide_silent(
    flow: Flow, external: ExternalPower, does_another_discharge: Callable[[], bool]
) -> BatteryStatus | None:
    """Decide for a driver that does not know what its battery does."""
    if flow is Flow.NEGATIVE:
        return BatteryStatus.DISCHARGING
    if external is ExternalPower.ONLINE:
        return {
            Flow.ZERO: BatteryStatus.NOT_CHARGING,
            Flow.POSITIVE: BatteryStatus.CHARGING,
        }.get(flow)
    if external is ExternalPower.UNKNOWN or flow is Flow.ZERO:
        return None
    # A machine without external power runs on a battery: on this one, if it is the only one.
    is_idle = flow is Flow.UNKNOWN and does_another_discharge()
    return None if is_idle else BatteryStatus.DISCHARGING
