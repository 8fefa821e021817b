"""A kind of sensor: battery packs, whose daemon writes text files below /run/bms/<pack>."""

from __future__ import annotations

from edge_inference.core.reading import Quantity, Role
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors.channel import Channel, Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.program_file import ProgramFile
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

FOLDER = "run/bms"
#: The daemon writes twice a second; after this time it has ended.
MAX_AGE_S = 5.0
#: The cells must not become hotter, although the processor may.
LIMIT_C = 55.0


def find(files: SystemFiles, board: Board, clock: Clock) -> list[Sensor]:
    """Return the temperature (in tenths of a kelvin) and the voltage (mV) of each pack."""
    found: list[Sensor] = []
    for pack in files.list(FOLDER):
        temperature = Channel(
            f"bms/{pack}/temperature",
            f"{FOLDER}/{pack}/temperature",
            Quantity.TEMPERATURE,
            role=Role.CONTROL,
            min_value=-40.0,
            max_value=100.0,
            device=f"bms/{pack}",
            limit=LIMIT_C,
        )
        voltage = Channel(
            f"bms/{pack}/voltage",
            f"{FOLDER}/{pack}/voltage",
            Quantity.VOLTAGE,
            min_value=0.0,
            device=f"bms/{pack}",
        )
        found += [
            ProgramFile((temperature,), files, clock, 0.1, -273.15, MAX_AGE_S),
            ProgramFile((voltage,), files, clock, 0.001, max_age_s=MAX_AGE_S),
        ]
    return found


BMS = SensorProbe("bms", find, files=(f"{FOLDER}/*/temperature", f"{FOLDER}/*/voltage"))
