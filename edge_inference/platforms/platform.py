"""The sensors of one machine, read together as one ``PlatformState``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Reading, Role
from edge_inference.platforms.board_files import Board, detect_board, find_board, load_boards
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.sampler import Sampler
from edge_inference.platforms.sensors import nvml
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.power_mode import PowerModeSensor
from edge_inference.platforms.sensors.probes import find_sensors
from edge_inference.platforms.sensors.rails_sum import sum_rails
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import HostFiles, SystemFiles

#: Less than the sampling period of half a second; a pass takes a few milliseconds.
_WAIT_S = 0.4


class Platform:
    """The sensors of a machine. ``sense`` never waits longer than ``wait_s``, even if one hangs."""

    def __init__(
        self,
        files: SystemFiles,
        board: Board,
        sampler: Sampler,
        mode: PowerModeSensor | None = None,
        *,
        wait_s: float = _WAIT_S,
    ) -> None:
        self.files = files
        self.board = board
        self._sampler = sampler
        self._mode = mode
        self._wait_s = wait_s

    def sense(self, now_ns: int) -> PlatformState:
        """Read every sensor once. ``now_ns`` is on the monotonic clock."""
        readings = self._sampler.read(self._wait_s)
        total = sum_rails(readings, self.board)
        return PlatformState(
            board=self.board.name,
            readings=(*readings, total) if total else readings,
            stamp_ns=now_ns,
            mode=self._mode.mode_name if self._mode else "",
            problem=self._find_problem(readings),
        )

    def close(self) -> None:
        """Stop reading. Does not wait for a sensor that hangs; unblocks reads of a recording."""
        self._sampler.close()
        if isinstance(self.files, RecordedFiles):
            self.files.close()

    def __enter__(self) -> Platform:
        """Return the platform; leaving the context closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _find_problem(self, readings: Sequence[Reading]) -> str:
        if self._sampler.problem:
            return self._sampler.problem
        control = [each for each in readings if each.role is Role.CONTROL]
        if not control:
            return (
                f"this machine has no control temperature (board {self.board.name}); "
                "name one in the board's file, under 'control'"
            )
        if all(each.value is None for each in control):
            first = control[0]
            return f"no control temperature has a value; {first.name}: {first.problem}"
        return ""


def open_platform(
    folders: Sequence[Path],
    files: SystemFiles | None = None,
    board: str = "",
    *,
    clock: Clock = time.monotonic_ns,
) -> Platform:
    """Open this machine, or the machine that ``files`` describe.

    ``folders`` hold the board files; ``board`` selects one of them by name, for a
    machine that is not recognized. NVML is used only for this machine, because
    ``files`` do not contain it. Raises ConfigError for an invalid file
    and for an unknown board.
    """
    source = HostFiles() if files is None else files
    boards = load_boards(folders)
    chosen = find_board(board, boards) if board else detect_board(source, boards)
    mode = PowerModeSensor(source, clock)

    use_nvml = files is None and chosen.settings.nvml

    def find() -> list[Sensor]:
        gpus = nvml.find(clock=clock) if use_nvml else []
        return [*find_sensors(source, chosen, clock), *gpus, mode]

    return Platform(source, chosen, Sampler(find, clock=clock), mode)
