"""Collects what a pipeline reports, and measures targets on it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.settings import suggestion
from edge_inference.observe.targets.intervals import (
    Interval,
    mean_interval,
    percentile_interval,
    rate_interval,
    share_interval,
)
from edge_inference.observe.targets.measures import PERCENTILES, Sampling
from edge_inference.observe.targets.target_file import Target

#: What identifies a frame or an utterance on its way through the stages.
_Frame = tuple[str, int]

#: The stages at which a way ends, by the pipeline: a plan is executed, a result is published.
LAST_STAGES = ("command", "decode")
#: A branch that draws frames for people; no frame ends there.
_SIDE_STAGES = ("overlay",)
#: With more items for each stamp, the source does not stamp every frame. An utterance is recognized
#: twice with one stamp: before its end is certain, and then.
_MAX_ITEMS_PER_STAMP = 2


class _Record(NamedTuple):
    moment_ns: int
    frame: _Frame
    timing: StageTiming


@dataclass(frozen=True)
class MeasuredWindow:
    """The time over which targets are measured, on the clock of the records."""

    begin_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """The length."""
        return (self.end_ns - self.begin_ns) / 1e9


class _Missing(Exception):  # noqa: N818 - the reason why a target has no value
    pass


class Observations:
    """The records of one pipeline; every method may be called from any thread.

    All moments are nanoseconds of one monotonic clock.
    """

    #: Maximum number of records of one stage or level; the newest are kept.
    MAX_RECORDS = 50_000
    MAX_STAGES = 128

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[tuple[str, str], deque[_Record]] = {}
        self._levels: dict[str, deque[tuple[int, float]]] = {}
        self._periods: deque[tuple[int, float]] = deque(maxlen=self.MAX_RECORDS)
        self._figures: dict[str, Interval] = {}
        self._reasons: dict[str, str] = {}

    def add_timing(self, timing: StageTiming, now_ns: int) -> None:
        """Record a frame of a stage."""
        key = (timing.node, timing.stage)
        with self._lock:
            if key not in self._stages and len(self._stages) >= self.MAX_STAGES:
                return
            records = self._stages.setdefault(key, deque(maxlen=self.MAX_RECORDS))
            records.append(_Record(now_ns, (timing.frame_id, timing.stamp_ns), timing))

    def add_level(self, what: str, value: float, now_ns: int) -> None:
        """Record a value that is read periodically, such as ``cpu_percent``."""
        with self._lock:
            levels = self._levels.setdefault(what, deque(maxlen=self.MAX_RECORDS))
            levels.append((now_ns, value))

    def add_control_period(self, period_ms: float, now_ns: int) -> None:
        """Record the time from one velocity to the next, while the robot is commanded to move."""
        with self._lock:
            self._periods.append((now_ns, period_ms))

    def set_figure(self, what: str, figure: Interval) -> None:
        """Set a measure that is not computed from these records."""
        with self._lock:
            self._figures[what] = figure

    def set_reason(self, what: str, reason: str) -> None:
        """State why a measure has no value."""
        with self._lock:
            self._reasons[what] = reason

    def forget_before(self, moment_ns: int) -> None:
        """Discard old records; a stage that is silent since then stays known."""
        with self._lock:
            for records in self._stages.values():
                while records and records[0].moment_ns < moment_ns:
                    records.popleft()
            for pairs in (*self._levels.values(), self._periods):
                while pairs and pairs[0][0] < moment_ns:
                    pairs.popleft()

    def within(self, window: MeasuredWindow) -> WindowRecords:
        """Return what was recorded in a window, apart from what is recorded meanwhile."""
        with self._lock:
            stages = {key: list(records) for key, records in self._stages.items()}
            levels = {what: list(pairs) for what, pairs in self._levels.items()}
            periods = list(self._periods)
            figures, reasons = dict(self._figures), dict(self._reasons)
        # Without the lock, which the stages of the pipeline need.
        return WindowRecords(
            window,
            {key: _within(records, window) for key, records in stages.items()},
            {what: _values(pairs, window) for what, pairs in levels.items()},
            _values(periods, window),
            figures,
            reasons,
        )

    def measure(self, target: Target, window: MeasuredWindow) -> Interval | str:
        """Return the measured value of one target, or why there is none."""
        return self.within(window).measure(target)


def _within(records: list[_Record], window: MeasuredWindow) -> list[_Record]:
    return [each for each in records if window.begin_ns <= each.moment_ns <= window.end_ns]


def _values(pairs: Iterable[tuple[int, float]], window: MeasuredWindow) -> list[float]:
    return [value for moment, value in pairs if window.begin_ns <= moment <= window.end_ns]


@dataclass
class WindowRecords:
    """The records within a window; ``measure`` may be called for many targets."""

    window: MeasuredWindow
    stages: Mapping[tuple[str, str], list[_Record]]
    levels: Mapping[str, list[float]]
    periods: list[float]
    figures: Mapping[str, Interval]
    reasons: Mapping[str, str]
    _samplings: dict[Sampling, Callable[[Target], Interval]] = field(init=False)

    def __post_init__(self) -> None:
        self._samplings = {
            Sampling.DURATION: self._duration,
            Sampling.RATE: self._rate,
            Sampling.CAPACITY: self._capacity,
            Sampling.SHARE: self._share,
            Sampling.LEVEL: self._level,
            Sampling.PEAK: self._peak,
            Sampling.FIGURE: self._figure,
        }

    def measure(self, target: Target) -> Interval | str:
        """Return the measured value, or why there is none."""
        try:
            return self._samplings[target.measure.sampling](target)
        except _Missing as reason:
            return str(reason)

    def _duration(self, target: Target) -> Interval:
        values = self._durations(target)
        if target.statistic in PERCENTILES:
            quantile = PERCENTILES[target.statistic]
            return percentile_interval(values, quantile, target.confidence)
        return mean_interval(values, target.confidence)

    def _durations(self, target: Target) -> list[float]:
        if target.what == "control_period_ms":
            if not self.periods:
                raise _Missing(self._reason(target, "no motion was commanded"))
            return self.periods
        if target.what == "total_ms":
            return self._totals(target.where)
        processed = self._processed(target.where or self._last_stage())
        values = [_duration_of(target.what, each) for each in processed]
        known = [value for value in values if value is not None]
        if not known:
            raise _Missing(_why_unknown(target.what, processed))
        return known

    def _totals(self, where: str) -> list[float]:
        """Return the processing time of each frame in one stage, or on its whole way."""
        last = where or self._last_stage()
        reached = self._processed(last)
        keys = [(self._key(where), reached)] if where else self.stages.items()
        totals: dict[_Frame, float] = dict.fromkeys((each.frame for each in reached), 0.0)
        if len(totals) * _MAX_ITEMS_PER_STAMP < len(reached):
            raise _Missing(
                f"the {len(reached)} frames of {last} have only {len(totals)} stamps; expected a "
                "source that stamps each frame"
            )
        for (_, stage), records in keys:
            if stage in _SIDE_STAGES and not where:
                continue
            for record in records:
                if record.frame in totals and record.timing.process_ms is not None:
                    totals[record.frame] += record.timing.process_ms
        return list(totals.values())

    def _rate(self, target: Target) -> Interval:
        records = self.stages[self._key(target.where)]
        begin_ns = self.window.begin_ns
        if len(records) >= Observations.MAX_RECORDS:  # the earlier ones were discarded
            begin_ns = records[0].moment_ns
        moments = [(each.moment_ns - begin_ns) / 1e9 for each in records if not each.timing.dropped]
        seconds = (self.window.end_ns - begin_ns) / 1e9
        if seconds <= 0:
            raise _Missing("the measurement has just begun")
        return rate_interval(moments, seconds, target.confidence)

    def _capacity(self, target: Target) -> Interval:
        interval = mean_interval(self._totals(target.where), target.confidence)
        if interval.value <= 0:
            raise _Missing("the processing time is 0 ms")
        return interval.inverted(1000.0)

    def _share(self, target: Target) -> Interval:
        hits = self._drops(target) if target.what == "drops_percent" else self._misses(target)
        return share_interval(hits, target.confidence).scaled(100.0)

    def _drops(self, target: Target) -> list[bool]:
        records = self.stages[self._key(target.where)]
        if not records:
            raise _Missing(f"{target.where} has received no frame in {self.window.seconds:.0f} s")
        return [bool(each.timing.dropped) for each in records]

    def _misses(self, target: Target) -> list[bool]:
        """Tell of each frame whether it was dropped on its way, or late at its end."""
        last = target.where or self._last_stage()
        end = self.stages[self._key(last)]
        frames: dict[_Frame, tuple[int, bool]] = {}
        ages = [(each, _duration_of("age_ms", each)) for each in end if not each.timing.dropped]
        if ages and all(age is None for _, age in ages):
            raise _Missing(_why_unknown("age_ms", end))
        for each, age in ages:
            if age is not None:
                frames[each.frame] = (each.moment_ns, age > (target.deadline_ms or 0.0))
        for (_, stage), records in self.stages.items():
            for each in records:
                if each.timing.dropped and stage not in _SIDE_STAGES:
                    frames.setdefault(each.frame, (each.moment_ns, True))
        if not frames:
            raise _Missing(f"{last} has processed no frame in {self.window.seconds:.0f} s")
        return [is_late for _, is_late in sorted(frames.values())]

    def _level(self, target: Target) -> Interval:
        return mean_interval(self._level_values(target), target.confidence)

    def _peak(self, target: Target) -> Interval:
        values = self._level_values(target)
        peak = max(values)
        return Interval(peak, peak, peak, len(values), len(values))

    def _level_values(self, target: Target) -> list[float]:
        values = self.levels.get(target.what)
        if not values:
            raise _Missing(self._reason(target, f"nothing here reports {target.what}"))
        return values

    def _figure(self, target: Target) -> Interval:
        if target.what == "models_at_work":
            models = {
                each.timing.model
                for records in self.stages.values()
                for each in records
                if each.timing.model and not each.timing.dropped
            }
            count = float(len(models))
            return Interval(count, count, count, len(models), count)
        figure = self.figures.get(target.what)
        if figure is None:
            raise _Missing(self._reason(target, f"nothing here reports {target.what}"))
        return figure

    def _reason(self, target: Target, otherwise: str) -> str:
        return self.reasons.get(target.what, otherwise)

    # Stages -------------------------------------------------------------------------------------

    def _processed(self, where: str) -> list[_Record]:
        records = self.stages[self._key(where)]
        processed = [each for each in records if not each.timing.dropped]
        if not processed:
            drops = Counter(each.timing.dropped for each in records)
            text = ", ".join(f"{count} {reason}" for reason, count in drops.most_common())
            raise _Missing(
                f"{where} has processed no frame in {self.window.seconds:.0f} s"
                + (f"; dropped: {text}" if text else "")
            )
        return processed

    def _key(self, where: str) -> tuple[str, str]:
        """Return the node and stage that ``where`` names; one that was silent counts too."""
        found = [key for key in self.stages if where in key]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(sorted(node for node, _ in found))
            raise _Missing(f"expected one stage {where}, got {names}; name the node with where")
        if not self.stages:
            raise _Missing("no stage has reported a frame")
        known = {stage for _, stage in self.stages}
        raise _Missing(f"no stage {where} has reported a frame{suggestion(where, known)}")

    def _last_stage(self) -> str:
        found = [stage for _, stage in self.stages if stage in LAST_STAGES]
        if len(found) != 1:
            ends = " and ".join(found) or f"none of {', '.join(LAST_STAGES)}"
            raise _Missing(f"expected one stage at which frames end, got {ends}; name one by where")
        return found[0]


def _duration_of(what: str, record: _Record) -> float | None:
    timing = record.timing
    if what == "age_ms" and timing.age_ms is not None:
        return timing.age_ms + (timing.publish_ms or 0.0)
    value: float | None = getattr(timing, what)
    return value


def _why_unknown(what: str, records: list[_Record]) -> str:
    if what == "device_ms":
        return "the backend does not report the time of a device"
    fault = next((each.timing.clock_fault for each in records if each.timing.clock_fault), "")
    return f"no frame has a known {what}{': ' if fault else ''}{fault}"
