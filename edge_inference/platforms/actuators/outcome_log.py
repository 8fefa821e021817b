"""The outcomes of requests to actuators, each reported once."""

from __future__ import annotations

from edge_inference.platforms.actuators.actuator import ActuatorOutcome, ActuatorResult


class OutcomeLog:
    """The latest outcome of each actuator, and the outcomes that nobody has taken yet.

    A control loop requests the same value again and again, so an outcome that repeats the
    previous one is left out. It repeats only within one standing request: a different request in
    between, such as a lift, makes the same outcome news again, even if that request itself had no
    outcome. Not thread-safe.
    """

    def __init__(self) -> None:
        self._standing: dict[str, str] = {}
        self._reported: dict[str, ActuatorOutcome] = {}
        self._latest: dict[str, ActuatorOutcome] = {}
        self._untaken: list[ActuatorOutcome] = []

    def note_request(self, name: str, value: str) -> None:
        """Note the value that is requested of an actuator from now on."""
        if self._standing.get(name) != value:
            self._standing[name] = value
            self._reported.pop(name, None)

    def add(self, outcome: ActuatorOutcome) -> None:
        """Add an outcome, unless it repeats the previous one of the standing request."""
        name = outcome.actuator
        before = self._reported.get(name)
        if before is None or not _is_repetition(before, outcome):
            self._reported[name] = self._latest[name] = outcome
            self._untaken.append(outcome)

    def find_latest(self, name: str) -> ActuatorOutcome | None:
        """Return the latest outcome of an actuator, None without one."""
        return self._latest.get(name)

    def latest(self) -> tuple[ActuatorOutcome, ...]:
        """Return the latest outcome of each actuator."""
        return tuple(self._latest.values())

    def take(self) -> tuple[ActuatorOutcome, ...]:
        """Return the outcomes since the last call."""
        taken, self._untaken = tuple(self._untaken), []
        return taken


def _is_repetition(before: ActuatorOutcome, now: ActuatorOutcome) -> bool:
    """Tell whether an outcome repeats the previous one: equal, or unchanged after a set."""
    is_still_set = now.result is ActuatorResult.UNCHANGED and before.result is ActuatorResult.SET
    return now == before or (is_still_set and now.requested == before.requested)
