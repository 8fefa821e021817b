"""Keeps a sensor to its contract, because the code of another package may break it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.core.settings import shorten
from edge_inference.errors import InputError
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.sensor import Sensor

_MAX_NAME_CHARS = 200
_MAX_TEXT_CHARS = 4096
_KINDS = {
    **{"status": ReadingStatus, "role": Role, "quantity": Quantity},
    **{"device": str, "source": str, "problem": str},
}
_FIXED_FIELDS = ("role", "quantity", "device")


class CheckedSensor:
    """A sensor whose names are asked once, and whose readings are what it has announced.

    The constructor and ``read`` raise InputError for a sensor that breaks the contract: a reading
    of another sensor's name, a changed role or quantity, a value that is no number, a control
    temperature that the board cannot have, or a time in the future could otherwise hide a
    temperature from the governor.
    """

    def __init__(self, sensor: Sensor, board: Board, clock: Clock) -> None:
        self._sensor = sensor
        self._board = board
        self._clock = clock
        self.name = _check_name(sensor.name)
        self.names = tuple(_check_name(name) for name in sensor.names)
        self._announced = {
            each.name: each for each in self._check_readings(sensor.announce(clock()))
        }
        if sorted(self._announced) != sorted(self.names):
            raise InputError(
                f"sensor {self.name}: expected it to announce {', '.join(self.names) or 'nothing'}"
                f", got {', '.join(self._announced) or 'nothing'}"
            )

    def __eq__(self, other: object) -> bool:
        """Tell whether both sensors read the same in the same way."""
        if not isinstance(other, CheckedSensor) or self.names != other.names:
            return False
        try:
            is_same = bool(self._sensor == other._sensor)
        except Exception:  # the code of another package; a sensor that is not comparable is new
            return False
        return is_same and self._static_fields() == other._static_fields()

    __hash__ = None  # type: ignore[assignment]

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        """Return a reading without a value of every name."""
        return [replace(each, stamp_ns=stamp_ns) for each in self._announced.values()]

    def read(self) -> Sequence[Reading]:
        """Read every value once. Raises InputError for readings that break the contract."""
        readings = self._check_readings(self._sensor.read())
        for reading in readings:
            announced = self._announced.get(reading.name)
            if announced is None:
                raise InputError(
                    f"sensor {self.name}: expected readings of {', '.join(self.names) or 'no name'}"
                    f", got {shorten(reading.name)}"
                )
            for field in _FIXED_FIELDS:
                expected, got = getattr(announced, field), getattr(reading, field)
                if got != expected:
                    raise InputError(
                        f"{reading.name}: expected the announced {field} {expected}, got {got}"
                    )
        return readings

    def _static_fields(self) -> list[Reading]:
        return [replace(each, stamp_ns=0) for each in self._announced.values()]

    def _check_readings(self, readings: Sequence[Reading]) -> list[Reading]:
        found = list(readings)
        now_ns = self._clock()
        for reading in found:
            problem = (
                _describe_error(reading, self._board, now_ns)
                if isinstance(reading, Reading)
                else f"expected a Reading, got {shorten(reading)}"
            )
            if problem:
                raise InputError(f"sensor {self.name}: {problem}")
        return found


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _MAX_NAME_CHARS:
        raise InputError(
            f"expected the name of a sensor to be a printable text of at most {_MAX_NAME_CHARS} "
            f"characters, got {shorten(name)}"
        )
    return name


def _describe_error(reading: Reading, board: Board, now_ns: int) -> str:
    """Return what is wrong with a reading; empty if nothing is."""
    for field, kind in _KINDS.items():
        if not isinstance(getattr(reading, field), kind):
            got = getattr(reading, field)
            return f"{reading.name}: expected {field} to be a {kind.__name__}, got {shorten(got)}"
    for field in ("device", "source"):
        text = getattr(reading, field)
        if not text.isprintable() or len(text) > _MAX_TEXT_CHARS:
            return f"{reading.name}: expected {field} to be a short text, got {shorten(text)}"
    for field in ("value", "throttle", "critical", "limit"):
        number = getattr(reading, field)
        if number is not None and not _is_finite(number):
            return f"{reading.name}: expected {field} to be a number or None, got {shorten(number)}"
        is_control = field == "value" and reading.role is Role.CONTROL
        lowest, highest = board.temperature_range if is_control else reading.quantity.valid
        if number is not None and not lowest <= number <= highest:
            return (
                f"{reading.name}: expected {field} from {lowest:g} to {highest:g}, got {number:g}"
            )
    if error := reading.role.objection(reading.quantity):
        return f"{reading.name}: {error}"
    if not isinstance(reading.stamp_ns, int) or reading.stamp_ns > now_ns:
        return (
            f"{reading.name}: expected a time up to now ({now_ns} ns), got {reading.stamp_ns!r}; "
            "take it from the clock that 'find' receives"
        )
    return ""


def _is_finite(number: object) -> bool:
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    return is_number and math.isfinite(number)  # type: ignore[arg-type]
