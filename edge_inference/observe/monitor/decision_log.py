"""The log of what a robot has changed, and why."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.expiring_map import ExpiringMap
from edge_inference.core.text_line import one_line
from edge_inference.observe.monitor.node_health import HEALTH_LEVELS, NodeHealth
from edge_inference.observe.monitor.snapshot import Decision, TargetRow
from edge_inference.observe.targets.verdict import Verdict

#: The same line comes once in this time; so many lines in all.
_REPEAT_NS = 1_000_000_000
_MAX_IN_REPEAT = 50
_MAX_SUBJECT, _MAX_TEXT = 200, 400
#: What has not been sent for this long is forgotten, so that its return is a line.
_FORGET_NS = 10_000_000_000
_MAX_SUBJECTS = 256
#: For so long a node must have been better.
_CALM_NS = 10_000_000_000
#: The platform manager moves the rate in small steps; smaller ones are no decision.
_RATE_STEP = 0.2

_Item = TypeVar("_Item")


class DecisionLog:
    """Compares objects with those before, and keeps the newest lines. Not thread-safe.

    ``now_ns`` is on one monotonic clock; ``wall_ns`` is the system clock, for the lines. At first
    sight a line says what an engine runs; everything else is a line only where it is not normal.
    """

    MAX_LINES = 500

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._lines: deque[Decision] = deque(maxlen=self.MAX_LINES)
        self._recent: dict[tuple[str, str], int] = {}
        self._states: ExpiringMap[InferenceState] = _make_map()
        self._directives: ExpiringMap[Directive] = _make_map()
        self._sources: ExpiringMap[str] = _make_map()
        self._platforms: ExpiringMap[tuple[DirectiveLevel, tuple[str, ...]]] = _make_map()
        #: The level of a node's last line, and when it has last had it.
        self._levels: ExpiringMap[tuple[str, int]] = _make_map()
        self._verdicts: ExpiringMap[str] = _make_map()

    def lines(self) -> tuple[Decision, ...]:
        """Return all lines, the oldest first."""
        return tuple(self._lines)

    def add(self, kind: str, subject: str, text: str, now_ns: int) -> None:
        """Write a line; see ``Decision``. Repetitions and floods are left out."""
        subject, text = one_line(subject, _MAX_SUBJECT), one_line(text, _MAX_TEXT)
        self._recent = {line: at for line, at in self._recent.items() if now_ns - at < _REPEAT_NS}
        if (subject, text) in self._recent or len(self._recent) >= _MAX_IN_REPEAT:
            return
        self._recent[subject, text] = now_ns
        self._lines.append(Decision(self._wall_ns() / 1e9, kind, subject, text))

    def add_state(self, state: InferenceState, reason: str, now_ns: int) -> None:
        """Compare what a node runs; ``reason`` says why it may be reduced, empty for nothing."""
        old = _exchange(self._states, state.node, state, now_ns)
        runs = describe_engine(state)
        if old is None or describe_engine(old) != runs:
            self.add("engine", state.node, f"{runs}: {reason}" if reason else runs, now_ns)
        preparing, prepared = _find_prepared(state), _find_prepared(old) if old else ""
        if preparing and preparing != prepared:
            self.add("engine", state.node, f"preparing {preparing}", now_ns)
        elif prepared and not preparing:
            end = f"{prepared} failed: {state.problem}" if state.problem else f"prepared {prepared}"
            self.add("engine", state.node, end, now_ns)
        elif state.problem and (old is None or state.problem != old.problem):
            self.add("engine", state.node, f"not as requested: {state.problem}", now_ns)

    def add_directive(self, directive: Directive, now_ns: int) -> None:
        """Compare level and limits of a node with those of its last line."""
        old = self._directives.current(now_ns).get(directive.node)
        before = Directive(0, "", "", DirectiveLevel.FULL, 1.0, DirectiveLimits(), "")
        kind = _find_change(old or before, directive)
        kept = directive if kind or old is None else old
        self._directives.put(directive.node, kept, now_ns)
        if kind:
            reason = directive.problem or directive.reason
            text = describe_limits(directive.level, directive.limits)
            self.add(kind, directive.node or "all nodes", f"{text}: {reason}", now_ns)

    def add_limits_source(self, node: str, source: str, problem: str, now_ns: int) -> None:
        """Compare where a node's limits come from: losing its manager is a decision."""
        old = _exchange(self._sources, node, source, now_ns)
        if source != old and "safe_level" in (source, old):
            text = f"limits from {source.replace('_', ' ')}"
            self.add("limit", node, f"{text}: {problem}" if problem else text, now_ns)

    def add_platform(self, report: PlatformReport, now_ns: int) -> None:
        """Compare the level of the whole machine, and what throttles it."""
        board = report.state.board
        old_level, old_throttling = _exchange(
            self._platforms, board, (report.level, report.throttling), now_ns
        ) or (DirectiveLevel.FULL, ())
        if report.level is not old_level:
            text = f"{report.level.name.lower()}: {report.reason}"
            self.add("level", board, text, now_ns)
        if set(report.throttling) != set(old_throttling):
            cause = ", ".join(report.throttling)
            text = f"the machine throttles: {cause}" if cause else "the machine throttles no more"
            self.add("level", board, text, now_ns)

    def add_health(self, health: NodeHealth, now_ns: int) -> None:
        """Compare the level of a node; a better one counts once it has lasted.

        Where frames are dropped now and then, the level changes every second.
        """
        level, since_ns = self._levels.current(now_ns).get(health.name, ("ok", now_ns))
        is_better = HEALTH_LEVELS.index(health.level) < HEALTH_LEVELS.index(level)
        if is_better and now_ns - since_ns < _CALM_NS:
            self._levels.put(health.name, (level, since_ns), now_ns)
            return
        self._levels.put(health.name, (health.level, now_ns), now_ns)
        if health.level != level:
            self.add("health", health.name, f"{health.level}: {health.message}", now_ns)

    def add_target(self, target: TargetRow, now_ns: int) -> None:
        """Compare the verdict of a target."""
        subject = f"{target.scenario}: {target.label}"
        old = _exchange(self._verdicts, subject, target.verdict, now_ns)
        is_news = target.verdict == Verdict.FAIL.value if old is None else target.verdict != old
        if is_news:
            self.add("target", subject, target.message, now_ns)


def describe_engine(state: InferenceState) -> str:
    """Return model, precision and backend as text for people."""
    return f"{state.model_name}, {state.precision} on {state.backend}"


def describe_limits(level: DirectiveLevel, limits: DirectiveLimits) -> str:
    """Return a level and the limits of a node as text for people."""
    parts = [level.name.lower()]
    if limits.max_rate_hz is not None:
        parts.append(f"at most {limits.max_rate_hz:.3g} Hz")
    if limits.max_batch is not None:
        parts.append(f"batch at most {limits.max_batch}")
    if limits.precision_ceiling:
        parts.append(f"at most {limits.precision_ceiling}")
    if limits.model:
        parts.append(f"model {limits.model}")
    return ", ".join(parts)


def _find_prepared(state: InferenceState) -> str:
    """Return the engine in preparation, without its phase and percents; empty for none."""
    engine, _, phase = state.preparing.rpartition(": ")
    return engine or phase


def _find_change(old: Directive, new: Directive) -> str:
    """Return the kind of the line for a change of a directive; empty for none."""
    if new.level is not old.level:
        return "level"
    was, now = old.limits, new.limits
    if (was.max_batch, was.precision_ceiling, was.model) != (
        now.max_batch,
        now.precision_ceiling,
        now.model,
    ):
        return "limit"
    if was.max_rate_hz is None or now.max_rate_hz is None:
        return "limit" if was.max_rate_hz != now.max_rate_hz else ""
    step = abs(now.max_rate_hz - was.max_rate_hz)
    return "limit" if step > _RATE_STEP * max(was.max_rate_hz, now.max_rate_hz) else ""


def _make_map() -> ExpiringMap[_Item]:
    return ExpiringMap(_MAX_SUBJECTS, _FORGET_NS)


def _exchange(items: ExpiringMap[_Item], name: str, item: _Item, now_ns: int) -> _Item | None:
    """Store an item and return the one before; None where there was none, or too long ago."""
    old = items.current(now_ns).get(name)
    items.put(name, item, now_ns)
    return old
