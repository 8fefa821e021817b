"""Reports the errors of a run, each one once and repeated ones at a limited rate."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import Any

from edge_inference.core.runtime.health import DUPLICATE_NODE_NAME

# An error that every frame causes is reported at most once in this time.
_REPEAT_S = 5.0
# Each of these errors concerns another file, so each is reported.
_UNLIMITED_REASONS = ("source",)
# The run itself checks for other pipelines, and its message is more precise.
_IGNORED_REASONS = (DUPLICATE_NODE_NAME,)


class ErrorReporter:
    """Collects error messages from the health of components and from any thread.

    ``report`` passes each new message to ``output``, in the thread that calls it. ``now_s`` is a
    monotonic clock in seconds.
    """

    def __init__(
        self, output: Callable[[str], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._output = output
        self._now_s = now_s
        self._added: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reported: set[str] = set()
        self._reported_s: dict[str, float] = {}

    def add(self, text: str) -> None:
        """Add a message, from any thread; the same message is reported once."""
        self._added.put(text)

    def report(self, nodes: Mapping[str, Any]) -> None:
        """Output the new messages; ``nodes`` maps names to components (with ``health``)."""
        for name, node in nodes.items():
            for reason, message in node.health.take_errors():
                if reason in _IGNORED_REASONS:
                    continue
                if reason in _UNLIMITED_REASONS or self._is_due(reason):
                    self._output_once(f"{name}: {message}")
        while not self._added.empty():
            self._output_once(self._added.get())

    def _is_due(self, reason: str) -> bool:
        now_s = self._now_s()
        due = now_s - self._reported_s.get(reason, now_s - _REPEAT_S) >= _REPEAT_S
        if due:
            self._reported_s[reason] = now_s
        return due

    def _output_once(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._output(text)
