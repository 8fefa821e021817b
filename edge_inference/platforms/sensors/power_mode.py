"""The current power mode of a Jetson, read from nvpmodel's files without running nvpmodel.

``etc/nvpmodel.conf`` names the modes, ``var/lib/nvpmodel/status`` holds the
number of the current one (``pmode:0002``). The numbers are not sorted by power.
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
FILES = (MODES_FILE, STATUS_FILE)
_MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", re.MULTILINE)
_STATUS = re.compile(r"pmode:\s*(\d+)")
_WATTS = re.compile(r"(?:^|_)(\d+)W(?:$|_)", re.IGNORECASE)
#: A mode that was last read longer ago is unknown.
_MAX_AGE_NS = 10_000_000_000


def read_modes(files: SystemFiles) -> dict[int, str]:
    """Return the names of the machine's modes by number, in the order of its file."""
    try:
        text = files.read(MODES_FILE).decode("utf-8", "replace")
    except OSError:
        return {}
    return {int(number): name for number, name in _MODE.findall(text)}


def read_current_mode(files: SystemFiles) -> int | None:
    """Return the number of the current mode; None if the machine has none."""
    try:
        match = _STATUS.search(files.read(STATUS_FILE).decode("utf-8", "replace"))
    except OSError:
        return None
    return int(match[1]) if match else None


def parse_watts(name: str) -> float | None:
    """Return the budget in the name of a mode (``MODE_15W``); None if the name has none."""
    match = _WATTS.search(name)
    return float(match[1]) if match else None


@dataclass
class PowerModeSensor:
    """Reads the mode in the sampler's thread, because its file may block. It has no reading."""

    files: SystemFiles
    clock: Clock = time.monotonic_ns
    _last_read: tuple[str, int] = field(default=("", 0), init=False)

    @property
    def name(self) -> str:
        """The name of the sensor."""
        return "mode/nvpmodel"

    @property
    def names(self) -> Sequence[str]:
        """None: it has no reading."""
        return ()

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        """Return nothing: it has no reading."""
        return ()

    def read(self) -> Sequence[Reading]:
        """Read the mode once, for ``mode_name``."""
        number = read_current_mode(self.files)
        text = "" if number is None else read_modes(self.files).get(number, f"mode {number}")
        self._last_read = text, self.clock()
        return ()

    @property
    def mode_name(self) -> str:
        """The name of the mode at the last read; empty if it is unknown."""
        text, stamp_ns = self._last_read
        return text if self.clock() - stamp_ns <= _MAX_AGE_NS else ""
