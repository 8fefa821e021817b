"""The power mode that a Jetson is in, read from nvpmodel's files without running it.

``etc/nvpmodel.conf`` names the modes, ``var/lib/nvpmodel/status`` holds the
number of the present one (``pmode:0002``). Numbers are in no order of power.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Reading
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.system_files import SystemFiles

MODES_FILE = "etc/nvpmodel.conf"
STATUS_FILE = "var/lib/nvpmodel/status"
_MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", re.MULTILINE)
_STATUS = re.compile(r"pmode:\s*(\d+)")
_WATTS = re.compile(r"(?:^|_)(\d+)W(?:$|_)", re.IGNORECASE)
#: A mode that could not be read again for so long is not known any more.
_BELIEVED_NS = 10_000_000_000


def read_modes(files: SystemFiles) -> dict[int, str]:
    """Return the names of the modes that the machine has by number, as its file orders them."""
    try:
        text = files.read(MODES_FILE).decode("utf-8", "replace")
    except OSError:
        return {}
    return {int(number): name for number, name in _MODE.findall(text)}


def read_current_mode(files: SystemFiles) -> int | None:
    """Return the number of the present mode; None where the machine has none."""
    try:
        match = _STATUS.search(files.read(STATUS_FILE).decode("utf-8", "replace"))
    except OSError:
        return None
    return int(match[1]) if match else None


def parse_watts(name: str) -> float | None:
    """Return the budget that a mode's name tells (``MODE_15W``); None where it tells none."""
    match = _WATTS.search(name)
    return float(match[1]) if match else None


@dataclass
class PowerModeSensor:
    """Looks at the mode among the sensors, since a file may block; a name is no reading."""

    files: SystemFiles
    clock: Clock = time.monotonic_ns
    _looked: tuple[str, int] = field(default=("", 0), init=False)

    @property
    def name(self) -> str:
        """The name of the sensor."""
        return "mode/nvpmodel"

    @property
    def names(self) -> Sequence[str]:
        """None: it has no reading."""
        return ()

    def read(self) -> Sequence[Reading]:
        """Look once, for ``text``."""
        number = read_current_mode(self.files)
        text = "" if number is None else read_modes(self.files).get(number, f"mode {number}")
        self._looked = text, self.clock()
        return ()

    @property
    def text(self) -> str:
        """The mode's name as last looked at; empty where it is not known."""
        text, stamp_ns = self._looked
        return text if self.clock() - stamp_ns <= _BELIEVED_NS else ""
