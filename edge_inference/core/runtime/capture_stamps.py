"""Capture stamps: the age of a frame, what is wrong with a stamp, and why it probably is.

A frame's age is the time of a node's clock since its capture. A stamp of another clock gives an age
that is no latency: a monotonic clock counts from boot, a recording has the time at which it was
made, a simulator begins at 0. Such a stamp is a fault, and the age is unknown.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

#: How far a camera's stamp may be ahead of the node's clock before it counts as wrong.
FUTURE_TOLERANCE_NS = 50_000_000
#: A greater age is no latency: ``max_age_ms`` admits no frame that is older, and the queues of the
#: stages hold frames for some minutes at most.
MAX_AGE_NS = 600_000_000_000
#: The same on arrival from a sensor: nothing of this package has held the frame before.
MAX_SENSOR_AGE_NS = 60_000_000_000
#: Stamps of one source may be out of order by this much.
_ORDER_TOLERANCE_NS = 1_000_000_000
#: Maximum number of sources whose last stamps are kept.
_MAX_SOURCES = 64
#: Times of a simulation, or since boot, are shorter than this; those of a calendar are longer.
_CALENDAR_NS = 10 * 365 * 86_400 * 1_000_000_000

_NO_CLOCK = (
    "the node uses simulated time and no /clock has come; play the recording with --clock, start "
    "the simulator, or set use_sim_time to false"
)
_NO_STAMP = "the source sets no stamp; set header.stamp in its driver"

STAMP_ZERO = "stamp_zero"
STAMP_IN_FUTURE = "stamp_in_future"
STAMP_IN_PAST = "stamp_in_past"
STAMP_WENT_BACK = "stamp_went_back"


def stamp_fault(stamp_ns: int, now_ns: int, max_age_ns: int = MAX_AGE_NS) -> str:
    """Return what is wrong with a capture stamp; empty where it is plausible."""
    if stamp_ns <= 0:
        return STAMP_ZERO
    if stamp_ns > now_ns + FUTURE_TOLERANCE_NS:
        return STAMP_IN_FUTURE
    if now_ns - stamp_ns > max_age_ns:
        return STAMP_IN_PAST
    return ""


def age_ms(stamp_ns: int, now_ns: int) -> float | None:
    """Return the milliseconds since capture, None where the stamp is implausible."""
    if stamp_fault(stamp_ns, now_ns):
        return None
    return max(0, now_ns - stamp_ns) / 1e6


class StampCheck:
    """Checks the stamps of one stage, in one thread.

    With ``from_sensor`` frames come from sensors, or from a player of recordings: an age on arrival
    beyond ``MAX_SENSOR_AGE_NS`` is a fault, and so is a stamp before the last one of the same
    source, as a recording that is played in a loop gives.
    """

    def __init__(self, from_sensor: bool) -> None:
        self._from_sensor = from_sensor
        self._last: OrderedDict[str, int] = OrderedDict()
        #: The stamp before the one that was checked last, of the same source.
        self.before_ns = 0

    def fault(self, stamp_ns: int, frame_id: str, now_ns: int, waited_ns: int) -> str:
        """Return what is wrong with a frame's stamp; empty where it is plausible.

        ``waited_ns`` is the time since the arrival, which makes no frame implausible.
        """
        if not self._from_sensor:
            return stamp_fault(stamp_ns, now_ns)
        self.before_ns = self._last.pop(frame_id, stamp_ns)
        self._last[frame_id] = stamp_ns
        if len(self._last) > _MAX_SOURCES:
            self._last.popitem(last=False)
        if 0 < stamp_ns < self.before_ns - _ORDER_TOLERANCE_NS:
            return STAMP_WENT_BACK
        return stamp_fault(stamp_ns, now_ns, MAX_SENSOR_AGE_NS + waited_ns)


@dataclass(frozen=True)
class Clocks:
    """The clocks at one moment: the node's, whether it is simulated, and those since boot."""

    now_ns: int
    is_simulated: bool
    monotonic_ns: int
    boot_ns: int

    @classmethod
    def read(cls, now_ns: int, is_simulated: bool) -> Clocks:
        """Read the clocks since boot."""
        monotonic_ns = time.monotonic_ns()
        return cls(now_ns, is_simulated, monotonic_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def explain_fault(fault: str, stamp_ns: int, clocks: Clocks, before_ns: int = 0) -> str:
    """Return one sentence: what is wrong with the stamp, the probable cause and the remedy.

    ``before_ns`` is the stamp of the frame before, for a stamp that went back.
    """
    now_ns = clocks.now_ns
    if fault == STAMP_ZERO:
        is_stopped = clocks.is_simulated and now_ns == 0
        got, cause = "none", _NO_CLOCK if is_stopped else _NO_STAMP
    elif fault == STAMP_WENT_BACK:
        got = f"one {_duration(before_ns - stamp_ns)} before that of the last frame"
        cause = (
            "a recording starts again, or two sources have the same frame_id; give each source "
            "its own frame_id, and do not compare latencies across the jump"
        )
    else:
        side = "after" if stamp_ns > now_ns else "before"
        got = f"one {_duration(abs(now_ns - stamp_ns))} {side} it"
        cause = _find_cause(stamp_ns, clocks)
    return f"{fault}: expected the time of capture on the node's clock, got {got}: {cause}"


def _find_cause(stamp_ns: int, clocks: Clocks) -> str:
    now_ns, is_ahead = clocks.now_ns, stamp_ns > clocks.now_ns
    if clocks.is_simulated and now_ns == 0:
        return _NO_CLOCK
    since_boot = (clocks.monotonic_ns, clocks.boot_ns)
    if any(-FUTURE_TOLERANCE_NS <= now - stamp_ns <= MAX_SENSOR_AGE_NS for now in since_boot):
        return (
            "the stamps count from boot, as a monotonic clock does; let the driver stamp with the "
            "system clock"
        )
    if clocks.is_simulated:
        if is_ahead and stamp_ns >= _CALENDAR_NS > now_ns:
            return (
                "the stamps are of the system clock and the node uses simulated time; set "
                "use_sim_time to false, or let the source use simulated time, too"
            )
        return (
            "the stamps are of another clock than /clock; use the source that goes with the "
            "simulator or the recording, or set use_sim_time to false"
        )
    if stamp_ns < _CALENDAR_NS:
        return (
            "the stamps are of simulated time and the node uses the system clock; set "
            "use_sim_time to true (and play a recording with --clock)"
        )
    if is_ahead:
        return (
            "the source's clock is ahead of this machine's; synchronize them (chrony, PTP), or "
            "correct the stamps of the driver"
        )
    return (
        "a recording that was made then, or a source whose clock is behind; play the recording "
        "with --clock and set use_sim_time to true, or synchronize the clocks"
    )


def _duration(ns: int) -> str:
    """Return a duration in the unit that suits its length."""
    seconds = ns / 1e9
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.3g} s"
