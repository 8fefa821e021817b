"""A power rail: voltage, current and power of one channel of a power monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors.channel import Channel, FileSensor

#: Labels of an input that is not connected, by drivers and by makers of boards.
_NOT_CONNECTED = {"", "nc", "n/c"}


@dataclass
class Rail(FileSensor):
    """Power, voltage and current, in this order, as the driver reports them.

    ``computes_power`` is True for a driver without a power; it is then voltage times current.
    """

    computes_power: bool = field(default=False)

    def read(self) -> Sequence[Reading]:
        """Read the rail once."""
        if not self.computes_power:
            return super().read()
        power, *factors = self.channels
        voltage, current = (channel.read(self.files, self.clock) for channel in factors)
        if voltage.value is None:
            first = power.make_empty_reading(voltage.status, voltage.problem, voltage.stamp_ns)
        elif current.value is None:
            first = power.make_empty_reading(current.status, current.problem, current.stamp_ns)
        else:
            first = power.make_reading(voltage.value * current.value, current.stamp_ns)
        return [first, voltage, current]


def is_connected(label: str) -> bool:
    """Tell whether a label names a connected input."""
    return label.strip().lower() not in _NOT_CONNECTED


def make_rail_channels(
    name: str, board: Board, *, power: tuple[str, int], voltage: str, current: str
) -> tuple[Channel, Channel, Channel]:
    """Return the channels of a rail: power, voltage and current.

    ``power`` is a file and the divisor that converts its number to watts; ``voltage``
    and ``current`` are files in mV and mA. No value of a rail is negative.
    """
    path, divisor = power
    return (
        Channel(
            name,
            path,
            Quantity.POWER,
            divisor=divisor,
            role=board.power_role(name),
            min_value=0,
            device=name,
        ),
        Channel(
            f"{name}/voltage", voltage, Quantity.VOLTAGE, divisor=1000, min_value=0, device=name
        ),
        Channel(
            f"{name}/current", current, Quantity.CURRENT, divisor=1000, min_value=0, device=name
        ),
    )
