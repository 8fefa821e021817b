"""Restoring the originals in the journal, newest change first."""

from __future__ import annotations

from collections.abc import Mapping

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Actuator, ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.journal import Journal, JournalRecord, read_boot_id
from edge_inference.platforms.actuators.machine import Machine


def restore_all(
    machine: Machine, actuators: Mapping[str, Actuator], journal: Journal, record: JournalRecord
) -> list[ActuatorOutcome]:
    """Restore all originals of a record; an original that fails stays in record and journal.

    Originals that a reboot has already reset are dropped. Only the writer may call this.
    """
    drop_reset_by_reboot(machine, actuators, record)
    outcomes = []
    for name in reversed(tuple(record.originals)):
        actuator = actuators.get(name)
        if actuator is None:
            message = f"{name}: unknown to this version; its original stays in the journal"
            outcomes.append(ActuatorOutcome(name, "", ActuatorResult.FAILED, None, message))
            continue
        outcomes.append(restore_actuator(actuator, record))
    journal.store(record)
    return outcomes


def drop_reset_by_reboot(
    machine: Machine, actuators: Mapping[str, Actuator], record: JournalRecord
) -> None:
    """Drop originals from before a reboot, except for settings that survive a reboot."""
    if record.boot_id == read_boot_id(machine):
        return
    for name in tuple(record.originals):
        if name in actuators and not actuators[name].survives_reboot:
            del record.originals[name]


def restore_actuator(actuator: Actuator, record: JournalRecord) -> ActuatorOutcome:
    """Restore one original and remove it from the record; if that fails, it stays there."""
    name = actuator.name
    try:
        actuator.restore(record.originals[name])
    except ActuatorError as error:
        return ActuatorOutcome(
            name, "", ActuatorResult.FAILED, read_or_none(actuator), f"{name}: {error}"
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        message = f"{name}: this version cannot read the original in the journal"
        return ActuatorOutcome(name, "", ActuatorResult.FAILED, read_or_none(actuator), message)
    del record.originals[name]
    now = read_or_none(actuator)
    return ActuatorOutcome(name, "", ActuatorResult.RESTORED, now, f"{name}: restored to {now}")


def read_or_none(actuator: Actuator) -> str | None:
    """Return the current value, None if it cannot be read."""
    try:
        return actuator.read()
    except ActuatorError:
        return None
