"""``edge-inference platform show``: what a machine's sensors say, look after look."""

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
from edge_inference.cli.platform.sensor_format import headline, rows, state_as_json
from edge_inference.cli.signals import catch_signals
from edge_inference.composition.pipeline import share_folder
from edge_inference.core.platform_state import PlatformState
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
    """What to show. ``recording`` None is this machine, as it is seen below ``root``."""

    recording: str | None = None
    root: str = "/"
    board: str = ""
    period_s: float = 1.0
    speed: float = 1.0
    loop: bool = False
    once: bool = False

    def check(self) -> None:
        """Raise UsageError for options that do not go together."""
        if self.recording is None and (self.loop or self.speed != 1.0):
            raise UsageError("--loop and --speed are for a recording; give one with --recording")
        if self.recording is not None and self.root != "/":
            raise UsageError("--root is for a machine's own files; leave it out with --recording")
        if not Path(self.root).is_dir():
            raise UsageError(f"--root {self.root}: expected a folder")


class Display(AbstractContextManager["Display"], ABC):
    """Where looks are shown; a context manager."""

    @abstractmethod
    def show(self, state: PlatformState, time_s: float) -> None:
        """Show a look and when it was, in seconds from the beginning."""

    def __exit__(self, *exc_info: object) -> None:
        """Leave the output as it shall stay."""


class SensorJsonLines(Display):
    """One JSON object a look."""

    def show(self, state: PlatformState, time_s: float) -> None:
        """Write it."""
        sys.stdout.write(json.dumps(state_as_json(state, time_s), allow_nan=False) + "\n")
        sys.stdout.flush()


class SensorTables(Display):
    """One table after the other."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        width = None if stream.isatty() else _PIPE_WIDTH
        self._stream = stream
        self._console = Console(file=stream, width=width, highlight=False)
        self._is_first = True

    def show(self, state: PlatformState, time_s: float) -> None:
        """Write it."""
        if not self._is_first:
            self._console.print()
        self._is_first = False
        self._console.print(_drawing(state))
        self._stream.flush()


class SensorLiveTable(Display):
    """A table that stays in place on a terminal; the last one stays when it ends."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._live: Live = Live(console=console, auto_refresh=False)

    def show(self, state: PlatformState, time_s: float) -> None:
        """Draw it anew."""
        self._live.start()
        self._live.update(_drawing(state), refresh=True)

    def __exit__(self, *exc_info: object) -> None:
        """Give the cursor back."""
        self._live.stop()


def show(
    order: ShowOptions,
    as_json: bool,
    clock: Clock = time.monotonic_ns,
    wait: Callable[[float], bool] | None = None,
) -> int:
    """Show looks until the recording ends or the user ends it.

    ``wait`` lets so many seconds of ``clock`` pass and tells whether the user has ended it.
    """
    order.check()
    with _display(as_json, order.once) as display, catch_signals() as interrupted:
        waiting = wait or interrupted.wait
        if order.recording is None:
            with _opened(order, HostFiles(Path(order.root))) as platform:
                start_ns = clock()
                _run(order, platform, display, waiting, lambda: (clock() - start_ns) / 1e9)
            return 0
        files = RecordedFiles(Path(order.recording), clock, order.speed, order.loop)
        with closing(files), _opened(order, files) as platform:
            _run(
                order, platform, display, waiting, lambda: files.elapsed_s, lambda: files.has_ended
            )
    return 0


def _opened(order: ShowOptions, files: HostFiles | RecordedFiles) -> Platform:
    folders = [share_folder() / "config" / "platforms"]
    if isinstance(files, RecordedFiles):
        return open_platform(folders, files, order.board, clock=files.now_ns)
    # Without a tree it is this machine, which is asked for more than its files.
    return open_platform(folders, files if order.root != "/" else None, order.board)


def _run(
    order: ShowOptions,
    platform: Platform,
    display: Display,
    wait: Callable[[float], bool],
    elapsed_s: Callable[[], float],
    has_ended: Callable[[], bool] = lambda: False,
) -> None:
    if order.once:
        # Load, and power by counted energy, are known from the second look on.
        platform.sense(time.monotonic_ns())
        if wait(order.period_s):
            return
    while True:
        was_last = order.once or has_ended()
        time_s = elapsed_s()
        display.show(platform.sense(time.monotonic_ns()), time_s)
        if was_last or wait(order.period_s):
            return


def _display(as_json: bool, once: bool) -> Display:
    if as_json:
        return SensorJsonLines()
    if sys.stdout.isatty() and not once:  # asked first, for what draws is slow to import
        from rich.console import Console

        from edge_inference.cli.progress import can_redraw

        if can_redraw(sys.stdout):
            return SensorLiveTable(Console(file=sys.stdout, highlight=False))
    return SensorTables(sys.stdout)


def _drawing(state: PlatformState) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("sensor", no_wrap=True)
    table.add_column("reading", justify="right", no_wrap=True)
    table.add_column("")
    for row in rows(state):
        style = {True: "", False: "red", None: "dim"}[row.is_well]
        # As Text: brackets in a sensor's name are no markup.
        table.add_row(Text(row.name), Text(row.values), Text(row.remark), style=style)
    head = Text(headline(state), style="bold")
    if state.problem:
        return Group(head, Text(state.problem, style="red"), table)
    return Group(head, table)
