"""``edge-inference platform show``: shows the readings of a machine's sensors."""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.platform.sensor_format import format_headline, make_rows, state_as_json
from edge_inference.cli.signals import catch_signals
from edge_inference.composition.pipeline import share_folder
from edge_inference.core.platform_state import PlatformState
from edge_inference.platforms.board_files import list_board_folders
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.system_files import HostFiles

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_PIPE_WIDTH = 140


@dataclass(frozen=True)
class ShowOptions:
    """Options of ``platform show``. Without ``recording`` it shows the machine below ``root``."""

    recording: str | None = None
    root: str = "/"
    board: str = ""
    platform_path: str = ""
    period_s: float = 1.0
    speed: float = 1.0
    loop: bool = False
    once: bool = False

    def check(self) -> None:
        """Raise UsageError for options that contradict each other."""
        if self.recording is None and (self.loop or self.speed != 1.0):
            raise UsageError("--loop and --speed need a recording; give one with --recording")
        if self.recording is not None and self.root != "/":
            raise UsageError("--root applies to a machine's own files; omit it with --recording")
        if not Path(self.root).is_dir():
            raise UsageError(f"--root {self.root}: expected a folder")


class Display(AbstractContextManager["Display"], ABC):
    """An output for platform states; a context manager."""

    @abstractmethod
    def show(self, state: PlatformState, time_s: float) -> None:
        """Show a state and its time, in seconds from the start."""

    def __exit__(self, *exc_info: object) -> None:
        """Finish the output."""


class SensorJsonLines(Display):
    """One JSON object for each sample."""

    def show(self, state: PlatformState, time_s: float) -> None:
        """Write one line."""
        sys.stdout.write(json.dumps(state_as_json(state, time_s), allow_nan=False) + "\n")
        sys.stdout.flush()


class SensorTables(Display):
    """One table for each sample."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        width = None if stream.isatty() else _PIPE_WIDTH
        self._stream = stream
        self._console = Console(file=stream, width=width, highlight=False)
        self._is_first = True

    def show(self, state: PlatformState, time_s: float) -> None:
        """Write one table."""
        if not self._is_first:
            self._console.print()
        self._is_first = False
        self._console.print(_make_table(state))
        self._stream.flush()


class SensorLiveTable(Display):
    """A table that is redrawn in place on a terminal; the last one remains."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._live: Live = Live(console=console, auto_refresh=False)

    def show(self, state: PlatformState, time_s: float) -> None:
        """Redraw the table."""
        self._live.start()
        self._live.update(_make_table(state), refresh=True)

    def __exit__(self, *exc_info: object) -> None:
        """Restore the cursor."""
        self._live.stop()


def show(
    options: ShowOptions,
    as_json: bool,
    clock: Clock = time.monotonic_ns,
    wait: Callable[[float], bool] | None = None,
) -> int:
    """Show samples until the recording ends or the user interrupts.

    ``wait`` waits for seconds of ``clock`` and returns True if the user has interrupted.
    """
    options.check()
    with _display(as_json, options.once) as display, catch_signals() as interrupted:
        waiting = wait or interrupted.wait
        if options.recording is None:
            with _open(options, HostFiles(Path(options.root))) as platform:
                start_ns = clock()
                _run(options, platform, display, waiting, lambda: (clock() - start_ns) / 1e9)
            return 0
        files = RecordedFiles(Path(options.recording), clock, options.speed, options.loop)
        with closing(files), _open(options, files) as platform:
            _run(
                options,
                platform,
                display,
                waiting,
                lambda: files.elapsed_s,
                lambda: files.has_ended,
            )
    return 0


def _open(options: ShowOptions, files: HostFiles | RecordedFiles) -> Platform:
    folders = list_board_folders(options.platform_path, share_folder() / "config" / "platforms")
    if isinstance(files, RecordedFiles):
        return open_platform(folders, files, options.board, clock=files.now_ns)
    # None stands for this machine, where NVML is read besides the files.
    return open_platform(folders, files if options.root != "/" else None, options.board)


def _run(
    options: ShowOptions,
    platform: Platform,
    display: Display,
    wait: Callable[[float], bool],
    elapsed_s: Callable[[], float],
    has_ended: Callable[[], bool] = lambda: False,
) -> None:
    if options.once:
        # The CPU load, and the power from energy counters, need two samples.
        platform.sense(time.monotonic_ns())
        if wait(options.period_s):
            return
    while True:
        was_last = options.once or has_ended()
        time_s = elapsed_s()
        display.show(platform.sense(time.monotonic_ns()), time_s)
        if was_last or wait(options.period_s):
            return


def _display(as_json: bool, once: bool) -> Display:
    if as_json:
        return SensorJsonLines()
    if sys.stdout.isatty() and not once:  # checked first, because rich is slow to import
        from rich.console import Console

        from edge_inference.cli.progress import can_redraw

        if can_redraw(sys.stdout):
            return SensorLiveTable(Console(file=sys.stdout, highlight=False))
    return SensorTables(sys.stdout)


def _make_table(state: PlatformState) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("sensor", no_wrap=True)
    table.add_column("reading", justify="right", no_wrap=True)
    table.add_column("")
    for row in make_rows(state):
        style = {True: "", False: "red", None: "dim"}[row.is_ok]
        # As Text, so that brackets in the name of a sensor are not markup.
        table.add_row(Text(row.name), Text(row.values), Text(row.remark), style=style)
    header = Text(format_headline(state), style="bold")
    if state.problem:
        return Group(header, Text(state.problem, style="red"), table)
    return Group(header, table)
