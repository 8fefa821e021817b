"""Records which frames of a running pipeline have a result, and how long that took."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Frames in a window of an hour at 100 Hz.
_MAX_FRAMES = 400_000


@dataclass(frozen=True)
class FrameWindow:
    """The frames that a source published in a window, in their order.

    ``latencies_ms`` are from the publication of a frame to that of its first result. ``dropped``
    frames have no result yet.
    """

    latencies_ms: tuple[float, ...]
    dropped: int

    @property
    def offered(self) -> int:
        """The number of frames."""
        return len(self.latencies_ms) + self.dropped


class FrameRecorder:
    """Gets frames and results from any thread, in the moments of their publication.

    The steady clock of this process is read, so that a step of the system clock changes nothing;
    the stamp only tells which frame a result belongs to.
    """

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, tuple[int, int | None]] = OrderedDict()

    def add_frame(self, stamp_ns: int) -> None:
        """Record a frame of the source."""
        now_ns = self._now_ns()
        with self._lock:
            self._frames[stamp_ns] = now_ns, None
            if len(self._frames) > _MAX_FRAMES:
                self._frames.popitem(last=False)

    def add_result(self, stamp_ns: int) -> None:
        """Record a result; one of an unknown frame, and a second one, do not count."""
        now_ns = self._now_ns()
        with self._lock:
            began_ns, ended_ns = self._frames.get(stamp_ns, (0, now_ns))
            if ended_ns is None:
                self._frames[stamp_ns] = began_ns, now_ns

    def window(self, begin_ns: int, end_ns: int) -> FrameWindow:
        """Return the frames from ``begin_ns`` up to ``end_ns``."""
        with self._lock:
            frames = [each for each in self._frames.values() if begin_ns <= each[0] < end_ns]
        latencies = [(ended - began) / 1e6 for began, ended in frames if ended is not None]
        return FrameWindow(tuple(latencies), len(frames) - len(latencies))

    def has_newer_result(self, moment_ns: int) -> bool:
        """Tell whether a frame that was published at ``moment_ns`` or later has a result.

        Results come in the order of their frames, so that older ones will not come any more.
        """
        with self._lock:
            for began_ns, ended_ns in reversed(self._frames.values()):
                if began_ns < moment_ns:
                    return False
                if ended_ns is not None:
                    return True
        return False
