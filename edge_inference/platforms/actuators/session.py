"""The session of the one writer: it takes the lock, saves originals, sets and restores."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Actuator, ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.journal import Journal, JournalRecord, read_boot_id
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.restore import (
    drop_reset_by_reboot,
    read_or_none,
    restore_actuator,
    restore_all,
)
from edge_inference.platforms.actuators.writer_lock import WriterLock

#: Actuators that depend on another one: restored before it is changed, and set again after.
_DEPENDENTS = {
    "power_mode": ("jetson_clocks", "cpu_clock_cap", "gpu_clock_cap"),
    "jetson_clocks": ("cpu_clock_cap", "gpu_clock_cap"),
}


class ActuatorSession:
    """Uses actuators in the caller's thread; a tool may block it up to the tool's timeout.

    ``start_guardian(writer)`` is called before the first change. It returns when a guardian
    is ready, or raises ActuatorError to forbid changes. With ``persistent`` the changes of
    earlier sessions stay: the start adopts their originals and does not restore them.
    """

    def __init__(
        self,
        machine: Machine,
        state_folder: Path,
        journal_name: str,
        actuators: Mapping[str, Actuator],
        start_guardian: Callable[[str], None],
        persistent: bool = False,
    ) -> None:
        self._machine = machine
        self._actuators = actuators
        self._lock = WriterLock(state_folder)
        self._journal = Journal(state_folder / journal_name)
        self._record = JournalRecord(uuid.uuid4().hex, "")
        self._start_guardian = start_guardian
        self._is_guarded = False
        self._is_persistent = persistent
        self._requested: dict[str, str] = {}

    def start(self) -> list[ActuatorOutcome]:
        """Become the writer and restore what an earlier writer has left.

        Raises ActuatorError if another process is the writer. An original that cannot be
        restored stays in the journal.
        """
        if self._lock.is_held:
            return []
        self._lock.acquire()
        try:
            return self._take_over_journal(self._journal.load())
        except ActuatorError:
            self._lock.release()
            raise

    def set(self, name: str, value: str) -> list[ActuatorOutcome]:
        """Set one actuator; raises no ActuatorError.

        Returns its outcome, and those of dependent actuators that could not be set again.
        """
        actuator = self._actuators[name]
        try:
            self.start()
        except ActuatorError as error:
            return [self._make_outcome(actuator, value, ActuatorResult.REFUSED, str(error))]
        dependents: list[tuple[str, str]] = []
        try:
            saved = self._record.originals.get(name)
            if actuator.plan(value, saved):
                self._restore_dependents(name, dependents)
                outcome = self._change(actuator, value)
            else:
                result = ActuatorResult.UNCHANGED
                outcome = self._make_outcome(actuator, value, result, "already set")
        except ActuatorError as error:
            outcome = self._make_outcome(actuator, value, ActuatorResult.FAILED, str(error))
        return [outcome, *self._set_again(dependents)]

    def restore(self, name: str) -> list[ActuatorOutcome]:
        """Restore one actuator; raises no ActuatorError.

        Returns no outcome if it was never changed, else as ``set``.
        """
        if name not in self._record.originals:
            return []
        dependents: list[tuple[str, str]] = []
        try:
            self._restore_dependents(name, dependents)
            outcome = restore_actuator(self._actuators[name], self._record)
            self._requested.pop(name, None)
            self._journal.store(self._record)
        except ActuatorError as error:
            actuator = self._actuators[name]
            outcome = self._make_outcome(actuator, "", ActuatorResult.FAILED, str(error))
        return [outcome, *self._set_again(dependents)]

    def restore_all(self) -> list[ActuatorOutcome]:
        """Restore all originals, newest change first."""
        if not self._lock.is_held:
            return []
        self._requested.clear()
        return restore_all(self._machine, self._actuators, self._journal, self._record)

    def end(self) -> None:
        """Release the lock; originals that are not restored stay in the journal."""
        self._lock.release()

    def _take_over_journal(self, leftover: JournalRecord | None) -> list[ActuatorOutcome]:
        self._record.boot_id = read_boot_id(self._machine)
        if leftover is None:
            return []
        outcomes = []
        if self._is_persistent:
            drop_reset_by_reboot(self._machine, self._actuators, leftover)
        else:
            outcomes = restore_all(self._machine, self._actuators, self._journal, leftover)
        self._record.originals = leftover.originals
        self._journal.store(self._record)
        return outcomes

    def _change(self, actuator: Actuator, value: str) -> ActuatorOutcome:
        name = actuator.name
        if not self._is_guarded:
            self._start_guardian(self._record.writer)
            self._is_guarded = True
        if name not in self._record.originals:
            originals = {**self._record.originals, name: actuator.save()}
            self._journal.store(JournalRecord(self._record.writer, self._record.boot_id, originals))
            self._record.originals = originals
        self._requested[name] = value
        difference = actuator.set(value, self._record.originals[name])
        if difference:
            return self._make_outcome(actuator, value, ActuatorResult.DIFFERS, difference)
        now = read_or_none(actuator)
        shown = "" if now in (None, value) else f" ({now})"
        return self._make_outcome(actuator, value, ActuatorResult.SET, f"set to {value}{shown}")

    def _restore_dependents(self, name: str, restored: list[tuple[str, str]]) -> None:
        """Restore the actuators that depend on this one, and add what must be set again."""
        for other in reversed(tuple(self._record.originals)):
            if other in _DEPENDENTS.get(name, ()) and other in self._requested:
                restored.append((other, self._requested[other]))
                outcome = restore_actuator(self._actuators[other], self._record)
                if outcome.is_problem:
                    raise ActuatorError(outcome.message)

    def _set_again(self, dependents: list[tuple[str, str]]) -> list[ActuatorOutcome]:
        """Set actuators again that were restored; return the outcomes that are problems."""
        return [
            outcome
            for name, value in reversed(dependents)
            for outcome in self.set(name, value)
            if outcome.is_problem
        ]

    def _make_outcome(
        self, actuator: Actuator, requested: str, result: ActuatorResult, message: str
    ) -> ActuatorOutcome:
        now = read_or_none(actuator)
        sentence = (
            message if message.startswith(f"{actuator.name}:") else f"{actuator.name}: {message}"
        )
        return ActuatorOutcome(actuator.name, requested, result, now, sentence)
