"""Reports of a machine that throttles: a recorded machine, with its clocks and flags lowered."""

from __future__ import annotations

import re
import time
from pathlib import Path

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformReport
from edge_inference.governor.throttling import ThrottleWatch
from edge_inference.platforms.platform import open_platform
from edge_inference.platforms.recording.replay import RecordedFiles

_ROOT = Path(__file__).parents[1]
_RECORDINGS = _ROOT / "test" / "platform_recordings"
#: Recorded machines whose kernel tells of throttling.
MACHINES = ("agx_orin", "agx_xavier", "jetson_nano", "laptop", "orin_nano", "orin_nx", "pc")
_CLOCK = re.compile(r"cpufreq/policy\d+/scaling_(cur|max)_freq$")
_COOLING = re.compile(r"cooling_device\d+/cur_state$")
#: Cooling devices that take effect when a machine throttles; a fan also runs without.
_TYPES = re.compile(r"throttle|balanced|Processor|cpufreq")
_PERIOD_NS = 500_000_000
_MINIMUM = 0.1


class _ThrottledFiles(RecordedFiles):
    """A recording; while ``speed`` is below 1, its clocks are lower and its flags are set."""

    speed = 1.0

    def read(self, path: str) -> bytes:
        content = super().read(path)
        if self.speed >= 1.0:
            return content
        if _CLOCK.search(path):
            return b"%d\n" % round(int(content) * self.speed)
        if _COOLING.search(path) and _TYPES.search(self._type_of(path)):
            return b"1\n"
        return content

    def _type_of(self, path: str) -> str:
        return super().read(path.replace("cur_state", "type")).decode()


class RecordedMachine:
    """The reports of a recorded machine, made as the platform manager makes them."""

    def __init__(self, name: str) -> None:
        self._now_ns = time.monotonic_ns()
        self._files = _ThrottledFiles(_RECORDINGS / f"{name}.jsonl", lambda: self._now_ns)
        self._platform = open_platform(
            [_ROOT / "config" / "platforms"], self._files, clock=lambda: self._now_ns
        )
        self._watch = ThrottleWatch()

    def reports(self, begin_ns: int, end_ns: int, speed: float = 1.0) -> list[PlatformReport]:
        """Return the reports of a window in which the clocks run at this share of full speed."""
        self._files.speed = speed
        found = []
        for now_ns in range(begin_ns, end_ns, _PERIOD_NS):
            self._now_ns = now_ns
            state = self._platform.sense(now_ns)
            throttling = self._watch.update(state, _PERIOD_NS / 1e9, _MINIMUM)
            found.append(
                PlatformReport(
                    state,
                    headroom=None,
                    throttling=throttling,
                    level=DirectiveLevel.FULL,
                    reason="",
                    now_ns=now_ns,
                    stamp_ns=time.time_ns() - (time.monotonic_ns() - now_ns),
                )
            )
        return found

    def __enter__(self) -> RecordedMachine:
        return self

    def __exit__(self, *error: object) -> None:
        self._platform.close()
