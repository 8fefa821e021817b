"""Parameters of the platform manager."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.settings import setting
from edge_inference.errors import ConfigError
from edge_inference.governor.settings import GovernorSettings
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.sensors.channel import Clock


@dataclass(frozen=True)
class PlatformManagerSettings(GovernorSettings):
    """What to sense, how to decide, and what may be changed on the machine."""

    rate_hz: float = setting(
        # Slower, nodes and other managers would take its silence for its end.
        2.0,
        "looks at the sensors, and decisions",
        unit="Hz",
        minimum=1.0,
        maximum=10.0,
    )
    board: str = setting("", "board by name, for a machine that is not recognised", read_only=True)
    platform_path: str = setting(
        "", "folders with boards' files, before the shipped ones; colon-separated", read_only=True
    )
    recording: str = setting(
        "", "recorded machine to sense instead of this one; nothing is set then", read_only=True
    )
    recording_speed: float = setting(
        1.0,
        "how many times as fast the recording is played",
        minimum=0.01,
        maximum=100.0,
        read_only=True,
    )
    recording_loop: bool = setting(
        False, "true: the recording starts over when it ends", read_only=True
    )
    actuators: tuple[str, ...] = setting(
        (),
        "what may be set on this machine; empty sets nothing",
        choices=ACTUATOR_NAMES,
        read_only=True,
    )
    dry_run: bool = setting(False, "true: only say what the actuators would set", read_only=True)
    power_mode: str = setting("", "power mode by name, through that actuator; empty leaves it")
    cpu_governor: str = setting("", "CPU governor, through that actuator; empty leaves it")
    gpu_governor: str = setting("", "GPU governor, through that actuator; empty leaves it")
    lock_clocks: bool = setting(False, "true: lock the clocks at their highest, by jetson_clocks")

    def check(self) -> str | None:
        """Return what is wrong between settings."""
        for actuator in self.wishes():
            if actuator not in self.actuators:
                return (
                    f"{actuator} is to be set, yet is not among actuators "
                    f"({', '.join(self.actuators) or 'none'}); allow it there first"
                )
        return super().check()

    def wishes(self) -> dict[str, str]:
        """Return the values that are wished for, by actuator."""
        values = {
            "power_mode": self.power_mode,
            "cpu_governor": self.cpu_governor,
            "gpu_governor": self.gpu_governor,
            "jetson_clocks": "on" if self.lock_clocks else "",
        }
        return {name: value for name, value in values.items() if value}

    def open_platform(self, shipped: Path) -> tuple[Platform, Clock]:
        """Open the machine, or the recorded one, and give the clock that its time is told by.

        Raises ConfigError or InputError.
        """
        folders = [_expanded(part) for part in self.platform_path.split(":") if part]
        folders.append(shipped)
        if not self.recording:
            return open_platform(folders, board=self.board), time.monotonic_ns
        file = _expanded(self.recording)
        files = RecordedFiles(file, speed=self.recording_speed, loop=self.recording_loop)
        return open_platform(folders, files, self.board, clock=files.now_ns), files.now_ns


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: no such user is known here; write the path out") from error
