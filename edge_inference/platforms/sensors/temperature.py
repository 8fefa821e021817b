"""A temperature and what makes it unbelievable: made-up values, leaps, a unit switched off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import classify_error, read_number
from edge_inference.platforms.boards import Board
from edge_inference.platforms.sensors.channel import Channel, FileSensor

#: What JetPack 5 says of a zone whose unit is switched off, in thousandths of a degree.
_SWITCHED_OFF_MC = -256_000
#: What so many sensors say that measure nothing that it is believed only when coming from near.
_SUSPICIOUS_C = 0.0
_NEAR_C = 5.0
#: A sensor in whole degrees never leaves this; one in thousandths does as soon as anything is warm.
_LARGEST_OF_WHOLE_DEGREES = 1000
#: Where another sensor says so much, a sensor within one degree of 0 °C is wrong.
_WARM_C = 15.0
#: After so long a pause any change is possible.
_LEAP_WITHIN_NS = 10_000_000_000


@dataclass
class Temperature(FileSensor):
    """One file with thousandths of a degree.

    ``placeholder`` is True for one that says a number but measures nothing. Sensors of one machine
    share ``last_valid``: by name, what each said last that was believed (°C), and when.
    """

    largest_jump_c: float = 30.0
    placeholder: bool = False
    last_valid: dict[str, tuple[float, int]] = field(default_factory=dict, compare=False)
    _is_in_thousandths: bool = field(default=False, init=False, compare=False)
    _unconfirmed: float | None = field(default=None, init=False, compare=False)

    def read(self) -> Sequence[Reading]:
        """Look once."""
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
            problem = "the unit that it measures is switched off (-256 °C)"
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
        """Return why a number may be no thousandths of a degree; empty where it is."""
        if abs(number) > _LARGEST_OF_WHOLE_DEGREES:
            self._is_in_thousandths = True
        if self._is_in_thousandths or self.placeholder:
            return ""
        others = [
            value
            for name, (value, seen_ns) in list(self.last_valid.items())
            if name != self.channels[0].name and now_ns - seen_ns <= _LEAP_WITHIN_NS
        ]
        if others and max(others) < _WARM_C:
            return ""
        why = f"while another says {max(others):g} °C" if others else "and nothing confirms it"
        return (
            f"it says {number} and has never been beyond ±{_LARGEST_OF_WHOLE_DEGREES}, {why}: "
            "expected thousandths of a degree; its driver may give whole degrees"
        )

    def _reject_reason(self, value: float, unconfirmed: float | None, now_ns: int) -> str:
        """Return why a value is not believed; empty where it is.

        ``unconfirmed`` is what the look before said, where that was not believed for a leap.
        """
        if self.placeholder:
            return f"it always says {value:g} °C and measures nothing on this board"
        before = self.last_valid.get(self.channels[0].name)
        if value == _SUSPICIOUS_C and (before is None or abs(before[0]) > _NEAR_C):
            return "it said exactly 0 °C, as sensors do that measure nothing"
        if before is None or now_ns - before[1] > _LEAP_WITHIN_NS:
            return ""
        if abs(value - before[0]) <= self.largest_jump_c:
            return ""
        if unconfirmed is not None and abs(value - unconfirmed) <= self.largest_jump_c:
            return ""  # a second look says so too
        self._unconfirmed = value
        return f"it leapt from {before[0]:g} to {value:g} °C; to be confirmed by the next look"


def temperature_channel(
    name: str,
    path: str,
    board: Board,
    *,
    decides: bool,
    throttle: float | None = None,
    critical: float | None = None,
) -> Channel:
    """Describe a file of thousandths of a degree on this board."""
    return Channel(
        name,
        path,
        Quantity.TEMPERATURE,
        divisor=1000,
        role=Role.CONTROL if decides else Role.NONE,
        min_value=board.settings.lowest_c,
        max_value=board.settings.highest_c,
        throttle=throttle,
        critical=critical,
    )
