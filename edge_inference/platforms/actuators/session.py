"""The one writer: takes the lock, keeps the originals, changes, reads back, puts back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Actuator, ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.journal import Journal, JournalRecord, boot_of
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.put_back import (
    forget_what_a_restart_has_reset,
    in_force,
    put_back,
    put_back_all,
)
from edge_inference.platforms.actuators.writer_lock import WriterLock

#: What each must not be changed beneath: put back before, and set again after.
_BENEATH = {
    "power_mode": ("jetson_clocks", "cpu_clock_cap", "gpu_clock_cap"),
    "jetson_clocks": ("cpu_clock_cap", "gpu_clock_cap"),
}


class ActuatorSession:
    """Uses actuators in the caller's thread, which a tool may hold up for its timeout.

    ``guard(writer)`` is called before the first change and must return only when
    somebody watches over this process; it raises ActuatorError to forbid changes.
    With ``goes_on`` what an earlier session has set is to last, and so is not put
    back at the start: its originals are ours then.
    """

    def __init__(
        self,
        machine: Machine,
        state_folder: Path,
        journal_name: str,
        actuators: Mapping[str, Actuator],
        guard: Callable[[str], None],
        goes_on: bool = False,
    ) -> None:
        self._machine = machine
        self._actuators = actuators
        self._lock = WriterLock(state_folder)
        self._journal = Journal(state_folder / journal_name)
        self._record = JournalRecord(uuid.uuid4().hex, "")
        self._guard = guard
        self._guarded = False
        self._goes_on = goes_on
        self._asked: dict[str, str] = {}

    def start(self) -> list[ActuatorOutcome]:
        """Become the writer and put back what an earlier one has left; ActuatorError if not.

        What cannot be put back stays in our journal as the original that it is.
        """
        if self._lock.is_held:
            return []
        self._lock.take()
        try:
            return self._take_over(self._journal.load())
        except ActuatorError:
            self._lock.give_back()
            raise

    def set(self, name: str, value: str) -> ActuatorOutcome:
        """Set one actuator; the outcome tells what came of it, whatever it was."""
        actuator = self._actuators[name]
        try:
            self.start()
        except ActuatorError as error:
            return self._outcome(actuator, value, ActuatorResult.REFUSED, str(error))
        try:
            saved = self._record.originals.get(name)
            if not actuator.plan(value, saved):
                return self._outcome(actuator, value, ActuatorResult.UNCHANGED, "is so already")
            above = self._lift(name)
            try:
                return self._change(actuator, value)
            finally:
                for other, asked in reversed(above):
                    self.set(other, asked)
        except ActuatorError as error:
            return self._outcome(actuator, value, ActuatorResult.FAILED, str(error))

    def restore(self, name: str) -> ActuatorOutcome | None:
        """Put one back; None where it was never changed."""
        if name not in self._record.originals:
            return None
        above = self._lift(name)
        outcome = put_back(self._actuators[name], self._record)
        self._asked.pop(name, None)
        self._journal.store(self._record)
        for other, asked in reversed(above):
            self.set(other, asked)
        return outcome

    def restore_all(self) -> list[ActuatorOutcome]:
        """Put everything back, newest change first."""
        if not self._lock.is_held:
            return []
        self._asked.clear()
        return put_back_all(self._machine, self._actuators, self._journal, self._record)

    def end(self) -> None:
        """Stop being the writer; what is not put back stays in the journal."""
        self._lock.give_back()

    def _take_over(self, left: JournalRecord | None) -> list[ActuatorOutcome]:
        self._record.boot = boot_of(self._machine)
        if left is None:
            return []
        outcomes = []
        if self._goes_on:
            forget_what_a_restart_has_reset(self._machine, self._actuators, left)
        else:
            outcomes = put_back_all(self._machine, self._actuators, self._journal, left)
        self._record.originals = left.originals
        self._journal.store(self._record)
        return outcomes

    def _change(self, actuator: Actuator, value: str) -> ActuatorOutcome:
        name = actuator.name
        if not self._guarded:
            self._guard(self._record.writer)
            self._guarded = True
        if name not in self._record.originals:
            originals = {**self._record.originals, name: actuator.save()}
            self._journal.store(JournalRecord(self._record.writer, self._record.boot, originals))
            self._record.originals = originals
        self._asked[name] = value
        different = actuator.set(value, self._record.originals[name])
        if different:
            return self._outcome(actuator, value, ActuatorResult.DIFFERS, different)
        now = in_force(actuator)
        shown = "" if now in (None, value) else f" ({now})"
        return self._outcome(actuator, value, ActuatorResult.SET, f"set to {value}{shown}")

    def _lift(self, name: str) -> list[tuple[str, str]]:
        """Put back what was set on top of this one; return what to set again."""
        above = []
        for other in reversed(tuple(self._record.originals)):
            if other in _BENEATH.get(name, ()) and other in self._asked:
                above.append((other, self._asked[other]))
                outcome = put_back(self._actuators[other], self._record)
                if outcome.is_problem:
                    raise ActuatorError(outcome.words)
        return above

    def _outcome(
        self, actuator: Actuator, asked: str, result: ActuatorResult, words: str
    ) -> ActuatorOutcome:
        now = in_force(actuator)
        sentence = words if words.startswith(f"{actuator.name}:") else f"{actuator.name}: {words}"
        return ActuatorOutcome(actuator.name, asked, result, now, sentence)
