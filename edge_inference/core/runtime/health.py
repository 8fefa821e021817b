"""How a component is doing: what it processed, dropped and refused, and why."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_inference.core.text_line import one_line

#: An error stays on show this long after it last happened.
_SHOWN_NS = 5_000_000_000
#: The same error is reported again (True from ``error``) after this long.
_REPEAT_NS = 5_000_000_000
#: So many messages wait for ``take_errors`` at the most; older ones go.
_KEPT_MESSAGES = 100
#: Losing more than this share of the frames is worth a warning.
_DROP_SHARE = 0.1

#: Reason of the error that another node bears the full name of a component.
DUPLICATE_NODE_NAME = "namesakes"


class HealthLevel(enum.IntEnum):
    """As in ``diagnostic_msgs/DiagnosticStatus``."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class HealthStatus:
    """One look at a component's health."""

    level: HealthLevel
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Health:
    """Counts from any thread; times are nanoseconds of one rising clock.

    Texts are kept as :func:`one_line` has them: some come from strangers, and all are shown.
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
        self._noted: dict[str, str] = {}
        self._noted_together: set[str] = set()
        self._last_error = ""
        self._last_error_ns = 0
        self._reported_ns: dict[str, int] = {}
        self._lasting: dict[str, int] = {}
        self._untaken: dict[str, str] = {}
        self._processed_before = 0
        self._dropped_before: Counter[str] = Counter()

    def set_active(self, active: bool) -> None:
        """Note whether data flows."""
        with self._lock:
            self._active = active

    def note(self, key: str, value: str) -> None:
        """Show a fact beside the counts (backend, model, source …)."""
        with self._lock:
            self._noted[key] = one_line(value)

    def replace_notes(self, facts: Mapping[str, str]) -> None:
        """Show these facts together, instead of those of the last call."""
        with self._lock:
            for key in self._noted_together - facts.keys():
                self._noted.pop(key, None)
            self._noted_together = set(facts)
            self._noted.update({key: one_line(value) for key, value in facts.items()})

    def count_processed(self) -> None:
        """Count a frame."""
        with self._lock:
            self._processed += 1

    def count_dropped(self, reason: str) -> None:
        """Count a frame that was given up for a reason that is no fault of its own."""
        with self._lock:
            self._dropped[reason] += 1

    def set_fault(self, message: str) -> None:
        """Show what keeps the component from working until it is mended (an empty message)."""
        with self._lock:
            self._fault = one_line(message)

    def set_warning(self, message: str) -> None:
        """Show what somebody ought to look at until it is mended (an empty message)."""
        with self._lock:
            self._warning = one_line(message)

    def count_error(self, reason: str, message: str, now_ns: int, lost: bool = True) -> bool:
        """Count something that went wrong; True when the message is due in the log.

        ``lost`` tells whether it has cost a frame.
        """
        message = one_line(message)
        with self._lock:
            (self._dropped if lost else self._errors)[reason] += 1
            self._last_error = message
            self._last_error_ns = now_ns
            self._untaken[message] = reason
            if len(self._untaken) > _KEPT_MESSAGES:
                del self._untaken[next(iter(self._untaken))]
            due = now_ns - self._reported_ns.get(reason, -_REPEAT_NS) >= _REPEAT_NS
            if due:
                self._reported_ns[reason] = now_ns
            return due

    def report_ongoing(self, reason: str, message: str, now_ns: int) -> bool:
        """Keep what is wrong on show while this is called; True at the first time, for the log.

        It counts once, and costs no frame.
        """
        message = one_line(message)
        with self._lock:
            lasting = {each: at for each, at in self._lasting.items() if now_ns - at <= _SHOWN_NS}
            is_new = message not in lasting
            self._lasting = {**lasting, message: now_ns}
            self._last_error, self._last_error_ns = message, now_ns
            if is_new:
                self._errors[reason] += 1
                self._untaken[message] = reason
            return is_new

    def expect(self, what: str) -> None:
        """Warn from now on while none of this comes; for a component that is fed from outside."""
        with self._lock:
            self._expected = what

    def drop_counts(self) -> dict[str, int]:
        """Return how many frames each reason has cost so far."""
        with self._lock:
            return dict(self._dropped)

    def notes(self) -> dict[str, str]:
        """Return the facts that were noted."""
        with self._lock:
            return dict(self._noted)

    def take_errors(self) -> list[tuple[str, str]]:
        """Return reason and message of what went wrong since the last call, each message once."""
        with self._lock:
            taken = [(reason, message) for message, reason in self._untaken.items()]
            self._untaken.clear()
            return taken

    def status(self, now_ns: int) -> HealthStatus:
        """Judge the time since the last call."""
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
        # What goes on is not hidden by what goes wrong with each message meanwhile.
        lasting = [each for each, at in self._lasting.items() if now_ns - at <= _SHOWN_NS]
        if lasting:
            return HealthLevel.ERROR, lasting[-1]
        if self._last_error and now_ns - self._last_error_ns <= _SHOWN_NS:
            return HealthLevel.ERROR, self._last_error
        if not self._active:
            return HealthLevel.OK, "not active"
        if self._warning:
            return HealthLevel.WARN, self._warning
        frames = done + lost.total()
        if lost.total() > _DROP_SHARE * frames:
            reasons = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
            return HealthLevel.WARN, f"gave up {lost.total()} of {frames} frames: {reasons}"
        if not frames and self._expected:
            return HealthLevel.WARN, f"no {self._expected} since the last report"
        return HealthLevel.OK, f"active, {done} frames since the last report"

    def _values(self) -> dict[str, str]:
        values = {**self._noted, "processed": str(self._processed)}
        values |= {f"dropped: {reason}": str(n) for reason, n in sorted(self._dropped.items())}
        values |= {f"error: {reason}": str(n) for reason, n in sorted(self._errors.items())}
        if self._last_error:
            values["last error"] = self._last_error
        return values
