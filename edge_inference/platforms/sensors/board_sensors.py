"""Sensors that a board file declares: files of the robot's own programs, with one number each."""

from __future__ import annotations

import math

from edge_inference.core.reading import Quantity, Role
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.board_sensor import BoardSensor
from edge_inference.platforms.sensors.channel import Channel, Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.program_file import ProgramFile
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles


def make_probe(board: Board) -> SensorProbe:
    """Return the probe of the sensors that a board's file declares."""
    paths = tuple(sensor.file for sensor in board.sensors)
    return SensorProbe(f"{board.name}.yaml", _find, files=paths)


def _find(files: SystemFiles, board: Board, clock: Clock) -> list[Sensor]:
    """Return a sensor for each one in the board's file, whether its file exists or not."""
    return [_make_sensor(files, board, clock, each) for each in board.sensors]


def _make_sensor(
    files: SystemFiles, board: Board, clock: Clock, declared: BoardSensor
) -> ProgramFile:
    quantity = Quantity(declared.quantity)
    is_temperature = quantity is Quantity.TEMPERATURE
    lowest, highest = board.temperature_range if is_temperature else quantity.valid
    channel = Channel(
        declared.name,
        declared.file,
        quantity,
        role=Role(declared.role),
        min_value=max(lowest, declared.min_value),
        max_value=min(highest, declared.max_value),
        throttle=_finite_or_none(declared.throttle),
        critical=_finite_or_none(declared.critical),
        device=declared.device,
        limit=_finite_or_none(declared.limit),
    )
    return ProgramFile(
        (channel,), files, clock, declared.scale, declared.offset, declared.max_age_s
    )


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
