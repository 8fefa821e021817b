"""The sensors of one machine, read together as one ``PlatformState``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import Board, choose_board, load_boards
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.sampler import Sampler
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.power_mode import PowerModeSensor
from edge_inference.platforms.sensors.probes import SENSOR_PROBES, make_probes
from edge_inference.platforms.sensors.rails_sum import sum_rails
from edge_inference.platforms.system_files import HostFiles, SystemFiles

#: Less than the sampling period of half a second; a pass takes a few milliseconds.
_WAIT_S = 0.4


class Platform:
    """The sensors of a machine. ``sense`` never waits longer than ``wait_s``, even if one hangs.

    ``problems`` are known from the start, such as a kind of sensor that cannot be imported.
    """

    def __init__(
        self,
        files: SystemFiles,
        board: Board,
        sampler: Sampler,
        mode: PowerModeSensor | None = None,
        *,
        problems: Sequence[str] = (),
        wait_s: float = _WAIT_S,
    ) -> None:
        self.files = files
        self.board = board
        self._sampler = sampler
        self._mode = mode
        self._problems = tuple(problems)
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
            problem=self._describe_problems(readings),
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

    def _describe_problems(self, readings: Sequence[Reading]) -> str:
        probes = self._sampler.problem
        control = [each for each in readings if each.role is Role.CONTROL]
        # While a probe has not ended, or has failed, that is the reason.
        temperatures = [] if probes and not control else self._list_lost(control)
        return "; ".join(filter(None, [probes, *self._problems, *temperatures]))

    def _list_lost(self, control: Sequence[Reading]) -> list[str]:
        """Return which control temperatures are unknown, and why; not those of unpowered units."""
        if not control:
            return [
                f"this machine has no control temperature (board {self.board.name}); "
                "name one in the board's file, under 'control'"
            ]
        if all(each.value is None for each in control):
            first = control[0]
            return [f"no control temperature has a value; {first.name}: {first.problem}"]
        return [
            f"control temperature {each.name} has no value: {each.problem}"
            for each in control
            if each.value is None and each.status is not ReadingStatus.GATED
        ]


def open_platform(
    folders: Sequence[Path],
    files: SystemFiles | None = None,
    board: str = "",
    *,
    clock: Clock = time.monotonic_ns,
) -> Platform:
    """Open this machine, or the machine that ``files`` describe.

    ``folders`` hold the board files; ``board`` selects one of them by name, for a
    machine that is not recognized. Probes that read no files, such as NVML, run only for this
    machine, because ``files`` do not contain what they read. Raises ConfigError for an invalid
    file and for an unknown board.
    """
    source = HostFiles() if files is None else files
    boards = load_boards(folders)
    chosen = choose_board(board, source, boards)
    mode = PowerModeSensor(source, clock)
    probes = make_probes(source, chosen, clock, is_live=files is None)
    return Platform(
        source,
        chosen,
        Sampler({**probes, "power mode": lambda: [mode]}, clock=clock),
        mode,
        problems=SENSOR_PROBES.problems(),
    )
