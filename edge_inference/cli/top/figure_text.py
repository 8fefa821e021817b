"""Figures of a robot as short texts; what is unknown is a dash, never 0."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

UNKNOWN = "\N{EN DASH}"
_DAY_S = 86400


def milliseconds(value: float | None) -> str:
    """Return a time in milliseconds, without its unit."""
    return _number(value, 1 if value is None or abs(value) < 1000 else 0)


def rate(value: float | None) -> str:
    """Return a rate per second, without its unit."""
    return _number(value, 1)


def percent(share: float | None) -> str:
    """Return a share (1 is all) in percent."""
    return UNKNOWN if share is None or not math.isfinite(share) else f"{share:.0%}"


def count(value: int | None) -> str:
    """Return a number of events."""
    return UNKNOWN if value is None else str(value)


def mebibytes(value: float | None) -> str:
    """Return a size in mebibytes as MiB or GiB."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.0f} MiB" if value < 1024 else f"{value / 1024:.1f} GiB"


def quantity(value: float | None, unit: str, digits: int = 1) -> str:
    """Return a value with its unit."""
    text = _number(value, digits)
    return text if text == UNKNOWN else f"{text} {unit}"


def duration(seconds: float) -> str:
    """Return a duration as minutes:seconds or hours:minutes:seconds."""
    minutes, left = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def clock_time(at_s: float, now_s: float) -> str:
    """Return the local time of an event, with the date where it was on another day.

    Both are seconds since 1970.
    """
    try:
        at, now = time.localtime(at_s), time.localtime(now_s)
    except (OverflowError, ValueError, OSError):  # a time that no calendar has
        return UNKNOWN
    is_today = abs(now_s - at_s) < _DAY_S and at.tm_yday == now.tm_yday
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", at)


def counts(numbers: Mapping[str, int]) -> str:
    """Return numbers by name, the highest first; those that are 0 are left out."""
    found = sorted(numbers.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {number}" for name, number in found if number)


def relative(name: str, namespace: str) -> str:
    """Return the name of a node or topic as it is called in a namespace."""
    return name.removeprefix(f"{namespace}/")


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
