"""A backend closes only after its running calls."""

from __future__ import annotations

import threading

import numpy as np

from edge_inference.backends.base import TensorSpec
from edge_inference.backends.null import NullBackend

SPEC = TensorSpec("x", np.dtype("float32"), (1,))
PATIENCE_S = 60.0


class RecordingBackend(NullBackend):
    """Records the order of the ends of runs and of closing."""

    def __init__(self) -> None:
        super().__init__([SPEC], [SPEC], self._wait)
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self.events: list[str] = []

    def _wait(self, inputs):
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE_S)
        self.events.append("ran")
        return dict(inputs)

    def _close(self) -> None:
        self.events.append("closed")


def test_closing_waits_for_running_calls() -> None:
    backend = RecordingBackend()
    backend.open()
    run = threading.Thread(target=backend.infer, args=({"x": np.zeros(1, np.float32)},))
    run.start()
    assert backend.has_begun.wait(PATIENCE_S)
    # The run continues once ``close`` waits for it, or has closed too early.
    changed = backend._changed
    wait_for = changed.wait_for

    def seen_waiting(*arguments):
        backend.may_end.set()
        return wait_for(*arguments)

    changed.wait_for = seen_waiting
    closing = threading.Thread(target=lambda: (backend.close(), backend.may_end.set()))
    closing.start()
    closing.join(PATIENCE_S)
    run.join(PATIENCE_S)
    assert backend.events == ["ran", "closed"]
