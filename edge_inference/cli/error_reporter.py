"""What goes wrong during a run, told in moderation."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import Any

from edge_inference.core.runtime.health import DUPLICATE_NODE_NAME

# A fault that comes with every frame is told this often.
_REPEAT_S = 5.0
# Each of these is about another file, so every one is told.
_TOLD_EACH = ("source",)
# The run looks for company itself, and says what mixes.
_TOLD_BY_THE_RUN = (DUPLICATE_NODE_NAME,)


class ErrorReporter:
    """Gathers messages from the components' health and from any thread, and passes them on.

    ``tell`` hears each message, called by ``report`` only. ``now_s`` is a
    rising clock in seconds.
    """

    def __init__(
        self, tell: Callable[[str], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._now_s = now_s
        self._own: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told: set[str] = set()
        self._told_s: dict[str, float] = {}

    def put(self, text: str) -> None:
        """Note a message of our own; the same one is told once."""
        self._own.put(text)

    def report(self, nodes: Mapping[str, Any]) -> None:
        """Tell what is new; ``nodes`` are components (with ``health``) by name."""
        for name, node in nodes.items():
            for reason, message in node.health.take_errors():
                if reason in _TOLD_BY_THE_RUN:
                    continue
                if reason in _TOLD_EACH or self._is_due(reason):
                    self._tell_once(f"{name}: {message}")
        while not self._own.empty():
            self._tell_once(self._own.get())

    def _is_due(self, reason: str) -> bool:
        now_s = self._now_s()
        due = now_s - self._told_s.get(reason, now_s - _REPEAT_S) >= _REPEAT_S
        if due:
            self._told_s[reason] = now_s
        return due

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
