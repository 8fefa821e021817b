"""The sensors of this machine, where no platform manager reports them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_inference.composition.pipeline import share_folder
from edge_inference.core.platform_state import PlatformState
from edge_inference.observe.monitor.platform_rows import make_own_row
from edge_inference.observe.monitor.snapshot import PlatformRow
from edge_inference.platforms.board_files import list_board_folders
from edge_inference.platforms.platform import Platform, open_platform

#: The platform manager reports twice a second.
_MISSED_NS = 3_000_000_000
#: A process of the pipeline reports twice a second.
_LOCAL_NS = 5_000_000_000


def open_own_platform() -> Platform:
    """Open the sensors of this machine, with the board files of this package."""
    return open_platform(list_board_folders("", share_folder() / "config" / "platforms"))


class OwnSensors:
    """Reads this machine's sensors while the pipeline runs on it and no platform manager reports.

    Times are nanoseconds of one monotonic clock. ``update`` and ``close`` are for one thread.
    """

    def __init__(self, open_sensors: Callable[[], Platform] = open_own_platform) -> None:
        self._open = open_sensors
        self._lock = threading.Lock()
        self._platform: Platform | None = None
        self._state: tuple[PlatformState, int] | None = None
        self._process_ns: int | None = None
        #: The newest report of a platform manager, or the begin of waiting for one.
        self._report_ns: int | None = None

    def note_process(self, now_ns: int) -> None:
        """Note that a process of the pipeline runs on this machine."""
        with self._lock:
            self._process_ns = now_ns

    def note_report(self, now_ns: int) -> None:
        """Note that a platform manager reports its sensors."""
        with self._lock:
            self._report_ns = now_ns

    def update(self, now_ns: int) -> None:
        """Read the sensors if nobody else does."""
        with self._lock:
            if self._report_ns is None:
                self._report_ns = now_ns
            process_ns, report_ns = self._process_ns, self._report_ns
        is_local = process_ns is not None and now_ns - process_ns < _LOCAL_NS
        if not is_local or now_ns - report_ns < _MISSED_NS:
            self.close()
            return
        if self._platform is None:
            self._platform = self._open()
        state = self._platform.sense(now_ns)
        with self._lock:
            self._state = state, now_ns

    def row(self, now_ns: int) -> PlatformRow | None:
        """Return the newest readings; None while they are not read."""
        with self._lock:
            state = self._state
        return None if state is None else make_own_row(state[0], (now_ns - state[1]) / 1e9)

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._state = None
        if self._platform is not None:
            self._platform.close()
            self._platform = None
