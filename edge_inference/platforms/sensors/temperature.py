"""A temperature sensor that rejects placeholders, jumps and values of a powered-off unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import classify_error, read_number
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors.channel import Channel, FileSensor

#: JetPack 5 reports this for a zone whose unit is powered off, in millidegrees.
_SWITCHED_OFF_MC = -256_000
#: Many sensors that measure nothing report 0 °C, so 0 °C is valid only after a value near it.
_SUSPICIOUS_C = 0.0
_NEAR_C = 5.0
#: A sensor in whole degrees stays within this; one in millidegrees exceeds it when it is warm.
_MAX_WHOLE_DEGREES = 1000
#: If another sensor is this warm, a sensor within one degree of 0 °C is wrong.
_WARM_C = 15.0
#: After a longer pause any change is possible.
_MAX_AGE_NS = 10_000_000_000


@dataclass
class Temperature(FileSensor):
    """One file in millidegrees.

    ``placeholder`` is True for a sensor that reports a number but measures nothing. All sensors
    of a machine share ``last_valid``: by name, the last valid value (°C) and its time.
    """

    max_jump_c: float = 30.0
    placeholder: bool = False
    last_valid: dict[str, tuple[float, int]] = field(default_factory=dict, compare=False)
    _is_in_thousandths: bool = field(default=False, init=False, compare=False)
    _unconfirmed: float | None = field(default=None, init=False, compare=False)

    def read(self) -> Sequence[Reading]:
        """Read the file once."""
        return [self._read(self.channels[0])]

    def _read(self, channel: Channel) -> Reading:
        unconfirmed, self._unconfirmed = self._unconfirmed, None
        try:
            number = read_number(self.files, channel.path)
        except OSError as error:
            return channel.make_empty_reading(*classify_error(error), self.clock())
        except InputError as error:
            return channel.make_empty_reading(ReadingStatus.INVALID, str(error), self.clock())
        now = self.clock()
        if number == _SWITCHED_OFF_MC:
            problem = "the measured unit is powered off (-256 °C)"
            return channel.make_empty_reading(ReadingStatus.GATED, problem, now)
        reading = channel.make_reading(number / 1000, now)
        if reading.value is None:
            return reading
        problem = self._unit_problem(number, now) or self._reject_reason(
            reading.value, unconfirmed, now
        )
        if problem:
            return channel.make_empty_reading(ReadingStatus.INVALID, problem, now)
        self.last_valid[channel.name] = (reading.value, now)
        return reading

    def _unit_problem(self, number: int, now_ns: int) -> str:
        """Return why a number may not be in millidegrees; empty if it is."""
        if abs(number) > _MAX_WHOLE_DEGREES:
            self._is_in_thousandths = True
        if self._is_in_thousandths or self.placeholder:
            return ""
        others = [
            value
            for name, (value, seen_ns) in list(self.last_valid.items())
            if name != self.channels[0].name and now_ns - seen_ns <= _MAX_AGE_NS
        ]
        if others and max(others) < _WARM_C:
            return ""
        reason = (
            f"while another sensor reports {max(others):g} °C"
            if others
            else "and no other sensor confirms it"
        )
        return (
            f"expected millidegrees, got {number}, which has always been within "
            f"±{_MAX_WHOLE_DEGREES}, {reason}; its driver may report whole degrees"
        )

    def _reject_reason(self, value: float, unconfirmed: float | None, now_ns: int) -> str:
        """Return why a value is rejected; empty if it is valid.

        ``unconfirmed`` is the previous value if it was rejected because of a jump.
        """
        if self.placeholder:
            return f"a placeholder on this board: it measures nothing and reports {value:g} °C"
        before = self.last_valid.get(self.channels[0].name)
        if value == _SUSPICIOUS_C and (before is None or abs(before[0]) > _NEAR_C):
            return "got exactly 0 °C, which is typical of a sensor that measures nothing"
        if before is None or now_ns - before[1] > _MAX_AGE_NS:
            return ""
        if abs(value - before[0]) <= self.max_jump_c:
            return ""
        if unconfirmed is not None and abs(value - unconfirmed) <= self.max_jump_c:
            return ""  # a second sample confirms the jump
        self._unconfirmed = value
        return f"jumped from {before[0]:g} to {value:g} °C; the next sample must confirm it"


def make_temperature_channel(
    name: str,
    path: str,
    board: Board,
    *,
    is_control: bool,
    throttle: float | None = None,
    critical: float | None = None,
) -> Channel:
    """Return the channel of a file in millidegrees on this board."""
    return Channel(
        name,
        path,
        Quantity.TEMPERATURE,
        divisor=1000,
        role=Role.CONTROL if is_control else Role.NONE,
        min_value=board.settings.min_c,
        max_value=board.settings.max_c,
        throttle=throttle,
        critical=critical,
    )
