"""``edge-inference export``: observes a robot, and passes what it sees on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import ExitStack

from edge_inference.cli.exit_status import EXIT_FAILED, print_error
from edge_inference.cli.export.export_options import ExportOptions
from edge_inference.cli.sessions.monitor_session import open_monitor
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.observe.export.metrics_server import MetricsServer
from edge_inference.observe.export.otlp import OtlpSender
from edge_inference.observe.export.prometheus import content_type, format_metrics
from edge_inference.observe.export.snapshot_lines import SnapshotLines
from edge_inference.observe.monitor.snapshot import Snapshot

#: Longer than what the outputs need to end.
_MAX_END_S = 10.0


def export_robot(options: ExportOptions) -> int:
    """Export until the time is over or the user ends it; return the exit code.

    0: it ended. 1: an output did not work at the end, or no pipeline was seen within the given
    time. Raises EdgeInferenceError where an output cannot be opened.
    """
    options.check()
    with (
        open_monitor("export", options.namespace, print_error, verbose=options.verbose) as session,
        catch_signals(max_s=_MAX_END_S) as interrupted,
        ExitStack() as stack,
    ):
        outputs = _Outputs(options, session.snapshot, stack)
        was_running = _run(options, session.snapshot, outputs.write, interrupted)
    if options.seconds is not None and not interrupted() and not was_running:
        return EXIT_FAILED
    return EXIT_FAILED if outputs.have_failed else 0


class _Outputs:
    """What the options ask for; ``stack`` closes it."""

    def __init__(
        self, options: ExportOptions, read: Callable[[], Snapshot], stack: ExitStack
    ) -> None:
        self._writers: list[Callable[[Snapshot], None]] = []
        self._states = []
        if options.json is not None:
            lines = SnapshotLines(options.json, print_error)
            stack.callback(lines.close)
            self._writers.append(lines.write)
            self._states.append(lines.state)
        if options.otlp is not None:
            sender = OtlpSender(options.otlp, print_error)
            stack.callback(sender.close)
            self._writers.append(sender.send)
            self._states.append(sender.state)
        if options.prometheus is not None:
            content_type()  # fails where the package is missing
            host, port = options.prometheus
            server = MetricsServer(
                host, port, lambda accept: (format_metrics(read(), accept), content_type(accept))
            )
            stack.callback(server.close)
            name = f"[{host}]" if ":" in host else host
            print_error(f"the metrics are at http://{name}:{server.port}/metrics")

    @property
    def have_failed(self) -> bool:
        """Whether one of them does not work now."""
        return any(state.has_failed for state in self._states)

    def write(self, snapshot: Snapshot) -> None:
        """Pass a snapshot on."""
        for write in self._writers:
            write(snapshot)


def _run(
    options: ExportOptions,
    read: Callable[[], Snapshot],
    write: Callable[[Snapshot], None],
    interrupted: Interrupt,
) -> bool:
    """Write a snapshot each period until the end; tell whether a pipeline was observed."""
    now_s = due_s = time.monotonic()
    end_s = None if options.seconds is None else now_s + options.seconds
    said: str | None = None
    was_running = False
    while True:
        snapshot = read()
        status = snapshot.status
        # Not once a second that the silence is a second longer.
        if (without_numbers := re.sub(r"\d+", "", status)) != said:
            said = without_numbers
            print_error(status or f"the pipeline in {snapshot.namespace or '/'} is observed")
        was_running = was_running or not status
        write(snapshot)
        now_s = time.monotonic()
        # After a stop of this process, nothing is made up for.
        due_s = max(due_s + options.period_s, now_s)
        wake_s = due_s if end_s is None else min(due_s, end_s)
        if interrupted.wait(max(wake_s - now_s, 0.0)):
            return was_running
        if end_s is not None and time.monotonic() >= end_s:
            return was_running
