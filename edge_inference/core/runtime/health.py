"""The health of a component: frames processed and dropped, errors and warnings."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_inference.core.text_line import one_line

#: An error is shown for this long after it last occurred.
_SHOWN_NS = 5_000_000_000
#: Minimum time between two log entries for the same reason.
_REPEAT_NS = 5_000_000_000
#: Maximum number of messages that wait for ``take_errors``; older ones are discarded.
_MAX_MESSAGES = 100
#: A greater share of dropped frames is a warning.
_MAX_DROP_SHARE = 0.1

#: Reason of the error that another node has the full name of a component.
DUPLICATE_NODE_NAME = "duplicate_node_name"


class HealthLevel(enum.IntEnum):
    """As in ``diagnostic_msgs/DiagnosticStatus``."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class HealthStatus:
    """A component's health at one moment."""

    level: HealthLevel
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Health:
    """Counts events from any thread; times are nanoseconds of one monotonic clock.

    Texts are kept in one line by :func:`one_line`, because some come from outside.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = False
        self._processed = 0
        self._dropped: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._fault = ""
        self._warning = ""
        self._expected = ""
        self._notes: dict[str, str] = {}
        self._replaceable: set[str] = set()
        #: The newest error of each reason, and when it occurred.
        self._last_errors: dict[str, tuple[str, int]] = {}
        self._reported_ns: dict[str, int] = {}
        self._ongoing: dict[str, int] = {}
        self._pending: dict[str, str] = {}
        self._processed_before = 0
        self._dropped_before: Counter[str] = Counter()

    def set_active(self, active: bool) -> None:
        """Set whether data flows."""
        with self._lock:
            self._active = active

    def note(self, key: str, value: str) -> None:
        """Show a note beside the counts (backend, model, source …)."""
        with self._lock:
            self._notes[key] = one_line(value)

    def replace_notes(self, notes: Mapping[str, str]) -> None:
        """Show these notes instead of those of the previous call."""
        with self._lock:
            for key in self._replaceable - notes.keys():
                self._notes.pop(key, None)
            self._replaceable = set(notes)
            self._notes.update({key: one_line(value) for key, value in notes.items()})

    def count_processed(self) -> None:
        """Count a processed frame."""
        with self._lock:
            self._processed += 1

    def count_dropped(self, reason: str, count: int = 1) -> None:
        """Count frames that were dropped for a reason other than an error."""
        with self._lock:
            self._dropped[reason] += count

    def set_fault(self, message: str) -> None:
        """Show why the component cannot work, until an empty message clears it."""
        with self._lock:
            self._fault = one_line(message)

    def set_warning(self, message: str) -> None:
        """Show a warning, until an empty message clears it."""
        with self._lock:
            self._warning = one_line(message)

    def count_error(self, reason: str, message: str, now_ns: int, lost: bool = True) -> bool:
        """Count an error; return True when the message is due in the log.

        ``lost`` states whether a frame was lost by it.
        """
        message = one_line(message)
        with self._lock:
            (self._dropped if lost else self._errors)[reason] += 1
            self._last_errors[reason] = message, now_ns
            self._pending[message] = reason
            if len(self._pending) > _MAX_MESSAGES:
                del self._pending[next(iter(self._pending))]
            due = now_ns - self._reported_ns.get(reason, -_REPEAT_NS) >= _REPEAT_NS
            if due:
                self._reported_ns[reason] = now_ns
            return due

    def report_ongoing(self, reason: str, message: str, now_ns: int) -> bool:
        """Show a persistent error; call it repeatedly. Returns True at first, for the log.

        The error counts once, and no frame is lost by it.
        """
        message = one_line(message)
        with self._lock:
            ongoing = {each: at for each, at in self._ongoing.items() if now_ns - at <= _SHOWN_NS}
            is_new = message not in ongoing
            self._ongoing = {**ongoing, message: now_ns}
            self._last_errors[reason] = message, now_ns
            if is_new:
                self._errors[reason] += 1
                self._pending[message] = reason
            return is_new

    def expect(self, input_name: str) -> None:
        """Warn from now on while this input does not arrive from outside."""
        with self._lock:
            self._expected = input_name

    def drop_counts(self) -> dict[str, int]:
        """Return the number of dropped frames by reason."""
        with self._lock:
            return dict(self._dropped)

    def notes(self) -> dict[str, str]:
        """Return the notes."""
        with self._lock:
            return dict(self._notes)

    def take_errors(self) -> list[tuple[str, str]]:
        """Return reason and message of the errors since the last call, each message once."""
        with self._lock:
            taken = [(reason, message) for message, reason in self._pending.items()]
            self._pending.clear()
            return taken

    def status(self, now_ns: int) -> HealthStatus:
        """Return the health for the time since the last call."""
        with self._lock:
            done = self._processed - self._processed_before
            lost = self._dropped - self._dropped_before
            self._processed_before = self._processed
            self._dropped_before = self._dropped.copy()
            level, message = self._judge(done, lost, now_ns)
            return HealthStatus(level, message, self._values())

    def _judge(self, done: int, lost: Counter[str], now_ns: int) -> tuple[HealthLevel, str]:
        if self._fault:
            return HealthLevel.ERROR, self._fault
        shown = [each for each in self._last_errors.values() if now_ns - each[1] <= _SHOWN_NS]
        if shown:
            return HealthLevel.ERROR, _describe(shown)
        if not self._active:
            return HealthLevel.OK, "not active"
        if self._warning:
            return HealthLevel.WARN, self._warning
        frames = done + lost.total()
        if lost.total() > _MAX_DROP_SHARE * frames:
            reasons = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
            return HealthLevel.WARN, f"dropped {lost.total()} of {frames} frames: {reasons}"
        if not frames and self._expected:
            return HealthLevel.WARN, f"no {self._expected} since the last report"
        return HealthLevel.OK, f"active, {done} frames since the last report"

    def _values(self) -> dict[str, str]:
        values = {**self._notes, "processed": str(self._processed)}
        values |= {f"dropped: {reason}": str(n) for reason, n in sorted(self._dropped.items())}
        values |= {f"error: {reason}": str(n) for reason, n in sorted(self._errors.items())}
        if self._last_errors:
            values["last error"] = _describe(self._last_errors.values())
        return values


def _describe(errors: Iterable[tuple[str, int]]) -> str:
    """Return the messages of some errors, the newest first.

    An error that every frame has must not hide one of another kind.
    """
    newest_first = sorted(errors, key=lambda each: each[1], reverse=True)
    return one_line("; ".join(message for message, _ in newest_first))
