"""Converts stamps and headers."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from edge_inference.errors import InputError

_SECOND_NS = 1_000_000_000
# The range of builtin_interfaces/Time; a computed stamp may be outside it.
_MIN_S, _MAX_S = -(2**31), 2**31 - 1


def to_header(stamp_ns: int, frame_id: str) -> Header:
    """Build a header from nanoseconds since the clock's epoch."""
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def stamp_ns(header: Header) -> int:
    """Return a header's stamp in nanoseconds; raises InputError for an invalid stamp."""
    return time_ns(header.stamp)


def to_time(moment_ns: int) -> Time:
    """Build a time from nanoseconds, clamped to the range of the message."""
    seconds, nanoseconds = divmod(moment_ns, _SECOND_NS)
    return Time(sec=min(_MAX_S, max(_MIN_S, seconds)), nanosec=nanoseconds)


def time_ns(moment: Time) -> int:
    """Return a time in nanoseconds; raises InputError where ``nanosec`` is a second or more."""
    if moment.nanosec >= _SECOND_NS:
        raise InputError(
            f"time: expected nanosec below {_SECOND_NS}, got {moment.nanosec} at second "
            f"{moment.sec}; fix the clock of its source"
        )
    return int(moment.sec) * _SECOND_NS + int(moment.nanosec)
