"""``edge-inference top`` as a program of its own, for a robot that is made up.

The name of the namespace says what is special: ``/crash`` fails after the first states, ``/twice``
gets two signals then, ``/none`` has no pipeline, ``/quiet`` says nothing at the end.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_inference.cli.main import console
from edge_inference.cli.top import show_top
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.snapshot import Snapshot
from top_kit import EMPTY, FULL


class MadeUpSession:
    """Has the same figures at any time."""

    def __init__(self, namespace: str) -> None:
        self.history = History()
        self._namespace = namespace
        self._states = 0

    def snapshot(self) -> Snapshot:
        self._states += 1
        if self._namespace == "/crash" and self._states > 2:
            raise RuntimeError("a fault of the monitor")
        if self._namespace == "/twice" and self._states > 2:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        known = EMPTY if self._namespace == "/none" else FULL
        return dataclasses.replace(known, at_s=time.time())


@contextmanager
def open_made_up(
    command: str, namespace: str, on_message: Callable[[str], None], *, verbose: bool = False
) -> Iterator[MadeUpSession]:
    session = MadeUpSession(namespace)
    on_message("the session speaks")
    yield session
    if namespace != "/quiet":
        os.write(2, b"the session has ended\n")


show_top.open_monitor = open_made_up  # type: ignore[assignment]
show_top._FIRST_S = 0.1
show_top._REST_S = 0.1

if __name__ == "__main__":
    sys.exit(console())
