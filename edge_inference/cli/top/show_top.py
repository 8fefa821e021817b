"""``edge-inference top``: shows a running robot in the terminal, as lines, or as JSON."""

from __future__ import annotations

import locale
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from edge_inference.cli.console_table import new_console
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError, print_error
from edge_inference.cli.progress import can_redraw
from edge_inference.cli.sessions.monitor_session import MonitorSession, open_monitor
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.top.message_log import MessageLog
from edge_inference.cli.top.screen_loop import quit_code, watch_on_screen
from edge_inference.cli.top.top_pages import TopView, compose_text
from edge_inference.cli.top.trends import read_trends
from edge_inference.observe.export.snapshot_lines import SnapshotLines

_PIPE_WIDTH = 120
#: How long the first figures may take, and how long others may come after them.
_FIRST_S, _REST_S = 5.0, 1.5
_POLL_S = 0.1
#: How long after a signal a reader may still take what is being written.
_MAX_WRITE_S = 3.0
#: Rows of each section in one of many states.
_MAX_ROWS = 10


@dataclass(frozen=True)
class TopOptions:
    """The options of ``top``; an empty ``namespace`` is that of the only pipeline."""

    namespace: str = ""
    interval: float = 1.0
    once: bool = False
    json: bool = False
    plain: bool = False
    verbose: bool = False

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.json and self.plain:
            raise UsageError("--plain and --json: expected one of them, got both")


def show_top(options: TopOptions) -> int:
    """Show the robot until the user quits, or once; return the exit code.

    0: shown, or the user quit. 1: ``once``, and no pipeline was observed, or the output cannot be
    written. 129 or 143: ended by a signal. Raises ConfigError where ROS 2 is missing.
    """
    options.check()
    is_screen = not (options.once or options.json or options.plain) and can_redraw(sys.stdout)
    log = MessageLog()
    on_message = log.add if is_screen else print_error
    with open_monitor("top", options.namespace, on_message, verbose=options.verbose) as session:
        views = _ViewReader(session, log)
        if is_screen:
            is_ascii = not speaks_unicode(sys.stdout)
            return watch_on_screen(views.read, log, options.interval, is_ascii=is_ascii)
        with catch_signals(max_s=_MAX_WRITE_S) as interrupted:
            lines = SnapshotLines("-", print_error) if options.json else None
            write = (
                _text_writer(sys.stdout, None if options.once else _MAX_ROWS)
                if lines is None
                else lambda view: lines.write(view.snapshot)
            )
            if options.once:
                code = _write_once(views, write, interrupted)
            else:
                while not interrupted():
                    write(views.read())
                    interrupted.wait(options.interval)
                code = quit_code(interrupted)
        has_failed = lines is not None and lines.state.has_failed
        return code or (EXIT_FAILED if has_failed else 0)


def speaks_unicode(stream: TextIO) -> bool:
    """Tell whether the locale and the stream have more than ASCII.

    Python itself may write UTF-8 where the locale has none.
    """
    encodings = (stream.encoding or "", locale.nl_langinfo(locale.CODESET))
    return all(each.lower().replace("-", "") == "utf8" for each in encodings)


class _ViewReader:
    """Reads what the pages show from a session."""

    def __init__(self, session: MonitorSession, log: MessageLog) -> None:
        self._session = session
        self._log = log
        self._started_s = time.monotonic()

    def read(self) -> TopView:
        """Return what is known now."""
        snapshot = self._session.snapshot()
        return TopView(
            snapshot,
            read_trends(self._session.history, snapshot.ends),
            self._log.messages(),
            time.monotonic() - self._started_s,
        )


def _write_once(
    views: _ViewReader, write: Callable[[TopView], None], interrupted: Interrupt
) -> int:
    """Write one state as soon as enough is known."""
    end_s = time.monotonic() + _FIRST_S
    while not (view := views.read()).snapshot.stages and time.monotonic() < end_s:
        if interrupted.wait(_POLL_S):
            return interrupted.exit_code
    if not view.snapshot.status:
        # Other topics are published less often.
        if interrupted.wait(_REST_S):
            return interrupted.exit_code
        view = views.read()
    write(view)
    return EXIT_FAILED if view.snapshot.status else 0


def _text_writer(stream: TextIO, max_rows: int | None) -> Callable[[TopView], None]:
    console = new_console(stream, _PIPE_WIDTH)
    is_ascii = not speaks_unicode(stream)

    def write(view: TopView) -> None:
        # Captured, because rich ends the process where the reader of the output has gone.
        with console.capture() as captured:
            for line in compose_text(view, console.width, max_rows, is_ascii=is_ascii):
                console.print(line, soft_wrap=True)
            console.print()
        stream.write(captured.get())
        stream.flush()

    return write
