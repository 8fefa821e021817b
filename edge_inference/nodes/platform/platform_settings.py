"""Parameters of the platform manager."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.settings import setting
from edge_inference.errors import ConfigError
from edge_inference.governor.settings import GovernorSettings
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES
from edge_inference.platforms.board_files import list_board_folders
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.sensors.channel import Clock


@dataclass(frozen=True)
class PlatformManagerSettings(GovernorSettings):
    """The sensors to read, the governor, and the actuators that may change the machine."""

    rate_hz: float = setting(
        # At a lower rate, nodes and other managers would time out.
        2.0,
        "rate of sensor readings and decisions",
        unit="Hz",
        minimum=1.0,
        maximum=10.0,
    )
    board: str = setting("", "name of the board, if it is not detected", read_only=True)
    platform_path: str = setting(
        "",
        "folders with board files, searched before the shipped ones; colon-separated",
        read_only=True,
    )
    recording: str = setting(
        "", "recording to read instead of this machine; actuators are then off", read_only=True
    )
    recording_speed: float = setting(
        1.0,
        "playback speed of the recording",
        minimum=0.01,
        maximum=100.0,
        read_only=True,
    )
    recording_loop: bool = setting(
        False, "true: the recording repeats when it ends", read_only=True
    )
    actuators: tuple[str, ...] = setting(
        (),
        "actuators that may change this machine; empty for none",
        choices=ACTUATOR_NAMES,
        read_only=True,
    )
    dry_run: bool = setting(False, "true: only log what the actuators would set", read_only=True)
    power_mode: str = setting(
        "", "name of the power mode to set with that actuator; empty for no change"
    )
    cpu_governor: str = setting("", "CPU governor to set with that actuator; empty for no change")
    gpu_governor: str = setting("", "GPU governor to set with that actuator; empty for no change")
    lock_clocks: bool = setting(False, "true: lock the clocks at their maximum with jetson_clocks")

    def check(self) -> str | None:
        """Return the conflict between settings, or None."""
        for actuator in self.actuator_requests():
            if actuator not in self.actuators:
                return (
                    f"{actuator}: expected it in the parameter actuators, which allows "
                    f"{', '.join(self.actuators) or 'none'}; allow it there first"
                )
        return super().check()

    def actuator_requests(self) -> dict[str, str]:
        """Return the requested values by actuator."""
        values = {
            "power_mode": self.power_mode,
            "cpu_governor": self.cpu_governor,
            "gpu_governor": self.gpu_governor,
            "jetson_clocks": "on" if self.lock_clocks else "",
        }
        return {name: value for name, value in values.items() if value}

    def open_platform(self, shipped: Path) -> tuple[Platform, Clock]:
        """Open this machine or the recorded one; return it with its clock.

        Raise ConfigError or InputError.
        """
        folders = list_board_folders(self.platform_path, shipped)
        if not self.recording:
            return open_platform(folders, board=self.board), time.monotonic_ns
        file = _expand(self.recording)
        files = RecordedFiles(file, speed=self.recording_speed, loop=self.recording_loop)
        return open_platform(folders, files, self.board, clock=files.now_ns), files.now_ns


def _expand(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: this user does not exist; write the path without ~") from error
