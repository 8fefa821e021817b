"""Actuators for a control loop: requests return at once, a worker thread carries them out."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_inference.core.runtime.worker import format_error
from edge_inference.core.settings import suggestion
from edge_inference.errors import ActuatorError, ConfigError
from edge_inference.platforms.actuators.actuator import ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.clock_domain import GPU_NAMES
from edge_inference.platforms.actuators.guardian import JOURNAL_NAME, Guardian
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.outcome_log import OutcomeLog
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES, CLOCK_CAPS, make_actuators
from edge_inference.platforms.actuators.restore import read_or_none
from edge_inference.platforms.actuators.session import ActuatorSession

#: The folder of the journal and the lock, below the root; the same for every writer.
STATE_FOLDER = Path("var/lib/edge_inference")
_ORIGINAL = ""
# The previous writer may have ended while its guardian still restores the originals.
_RETRY_S = 1.0


class Actuators:
    """The actuators in ``allowed``; if it is empty, nothing is ever written.

    Only ``wait_until_idle`` and ``close`` block. Of several pending requests for one
    actuator the last is carried out. A request that is refused because another process
    is the writer is retried. ``close`` restores the originals; if this process ends
    without it, a guardian process restores them, else the next start.
    Raises ConfigError for an unknown name.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        *,
        dry_run: bool = False,
        machine: Machine | None = None,
        state_folder: Path | None = None,
        gpu_names: Sequence[str] = GPU_NAMES,
    ) -> None:
        for name in allowed:
            if name not in ACTUATOR_NAMES:
                raise ConfigError(f"unknown actuator {name!r}{suggestion(name, ACTUATOR_NAMES)}")
        self.allowed = tuple(name for name in ACTUATOR_NAMES if name in allowed)
        self._dry_run = dry_run
        self._machine = machine or Machine()
        self._folder = state_folder or self._machine.root / STATE_FOLDER
        self._gpu_names = tuple(gpu_names)
        self._actuators = make_actuators(self._machine, gpu_names)
        self._session = ActuatorSession(
            self._machine, self._folder, JOURNAL_NAME, self._actuators, self._start_guardian
        )
        self._guardian: Guardian | None = None
        self._changed = threading.Condition()
        self._requests: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._retry_at_s = 0.0
        self._busy = False
        self._ending = False
        self._log = OutcomeLog()
        self._thread: threading.Thread | None = None
        if self.allowed:
            self._thread = threading.Thread(target=self._work, name="actuators", daemon=True)
            self._thread.start()

    # From any thread ----------------------------------------------------------------------------

    def cap_clocks(self, clock_cap: float | None) -> None:
        """Request that clocks stay below this share of their maximum; None removes the cap.

        Only clock caps that are allowed are set.
        """
        for name in CLOCK_CAPS:
            if name in self.allowed:
                self._add_request(name, _ORIGINAL if clock_cap is None else f"{clock_cap:g}")

    def request(self, name: str, value: str) -> None:
        """Request a value of one actuator; an empty value restores the original."""
        if name in self.allowed:
            self._add_request(name, value)
        else:
            message = f"{name}: not allowed; allowed: {', '.join(self.allowed) or 'none'}"
            self._report(ActuatorOutcome(name, value, ActuatorResult.REFUSED, None, message))

    def restore(self) -> None:
        """Request that all originals be restored."""
        for name in self.allowed:
            self._add_request(name, _ORIGINAL)

    def outcomes(self) -> tuple[ActuatorOutcome, ...]:
        """Return the outcome of the last request for each actuator."""
        with self._changed:
            return self._log.latest()

    def take_outcomes(self) -> tuple[ActuatorOutcome, ...]:
        """Return the outcomes since the last call, without repetitions."""
        with self._changed:
            return self._log.take()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until every request has an outcome; return False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._requests and not self._busy, timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """Restore all originals and end; return False after the timeout.

        After a timeout the guardian restores them when this process ends. The default
        timeout is twice that of a tool.
        """
        with self._changed:
            self._requests.clear()
            self._ending = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(2 * self._machine.timeout_s if timeout_s is None else timeout_s)
        return not self._thread.is_alive()

    # In the worker thread -----------------------------------------------------------------------

    def _work(self) -> None:
        if not self._dry_run:
            self._run_guarded(self._start)
        while (request := self._next()) is not None:
            self._run_guarded(functools.partial(self._carry_out, *request), *request)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        self._run_guarded(self._end)

    def _next(self) -> tuple[str, str] | None:
        with self._changed:
            while not self._ending:
                wait_s = self._retry_refused()
                if self._requests:
                    name = next(iter(self._requests))
                    self._busy = True
                    return name, self._requests.pop(name)
                self._changed.wait(wait_s)
            return None

    def _retry_refused(self) -> float | None:
        """Repeat refused requests when their time has come; return the seconds until then."""
        if not self._refused:
            return None
        left_s = self._retry_at_s - time.monotonic()
        if left_s > 0:
            return left_s
        self._requests = {**self._refused, **self._requests}
        self._refused = {}
        return None

    def _carry_out(self, name: str, value: str) -> None:
        if self._dry_run:
            outcome = self._dry_run_outcome(name, value)
            outcomes = [outcome] if outcome is not None else []
        elif value == _ORIGINAL:
            outcomes = self._session.restore(name)
        else:
            outcomes = self._session.set(name, value)
        for outcome in outcomes:
            self._report(outcome)
            if outcome.result is ActuatorResult.REFUSED:
                self._retry_later(outcome.actuator, outcome.requested)

    def _retry_later(self, name: str, value: str) -> None:
        with self._changed:
            if not self._refused:
                self._retry_at_s = time.monotonic() + _RETRY_S
            if name not in self._requests:
                self._refused[name] = value

    def _dry_run_outcome(self, name: str, value: str) -> ActuatorOutcome | None:
        actuator = self._actuators[name]
        now = read_or_none(actuator)
        if value == _ORIGINAL:
            before = self._log.find_latest(name)
            if before is None or before.result is not ActuatorResult.DRY_RUN:
                return None
            return ActuatorOutcome(
                name, value, ActuatorResult.DRY_RUN, now, f"{name}: dry run; would restore it"
            )
        try:
            steps = actuator.plan(value, None)
        except ActuatorError as error:
            return ActuatorOutcome(name, value, ActuatorResult.FAILED, now, f"{name}: {error}")
        message = f"dry run; would {', then '.join(steps)}" if steps else "already set"
        result = ActuatorResult.DRY_RUN if steps else ActuatorResult.UNCHANGED
        return ActuatorOutcome(name, value, result, now, f"{name}: {message}")

    def _start(self) -> None:
        for outcome in self._session.start():
            self._report(outcome)

    def _end(self) -> None:
        try:
            for outcome in self._session.restore_all():
                self._report(outcome)
        finally:
            self._session.end()
            if self._guardian is not None:
                self._guardian.release()

    def _start_guardian(self, writer: str) -> None:
        self._guardian = Guardian.start(self._machine, self._folder, writer, self._gpu_names)

    def _run_guarded(self, action: Callable[[], None], name: str = "", value: str = "") -> None:
        """Call an action; report its error as the outcome of the request that it carries out."""
        try:
            action()
        except ActuatorError as error:
            result = ActuatorResult.FAILED if name else ActuatorResult.REFUSED
            message = f"{name}: {error}" if name else str(error)
            self._report(ActuatorOutcome(name, value, result, None, message))
        except BaseException as error:
            # The thread must survive any error, so that it can restore the originals.
            message = f"{name}: {format_error(error)}" if name else format_error(error)
            self._report(ActuatorOutcome(name, value, ActuatorResult.FAILED, None, message))

    def _add_request(self, name: str, value: str) -> None:
        with self._changed:
            if not self._ending:
                self._log.note_request(name, value)
                self._requests.pop(name, None)
                self._refused.pop(name, None)
                self._requests[name] = value
                self._changed.notify_all()

    def _report(self, outcome: ActuatorOutcome) -> None:
        with self._changed:
            self._log.add(outcome)
            self._changed.notify_all()
