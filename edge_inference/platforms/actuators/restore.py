"""Putting back what the journal holds, newest change first."""

from __future__ import annotations

from collections.abc import Mapping

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Actuator, ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.journal import Journal, JournalRecord, read_boot_id
from edge_inference.platforms.actuators.machine import Machine


def restore_all(
    machine: Machine, actuators: Mapping[str, Actuator], journal: Journal, record: JournalRecord
) -> list[ActuatorOutcome]:
    """Put everything back that the record holds; what fails stays in it and in the journal.

    What a restart of the machine has reset by itself is only forgotten. Only for the writer.
    """
    drop_reset_by_reboot(machine, actuators, record)
    outcomes = []
    for name in reversed(tuple(record.originals)):
        actuator = actuators.get(name)
        if actuator is None:
            message = f"{name}: no actuator of this version, so its original is kept in the journal"
            outcomes.append(ActuatorOutcome(name, "", ActuatorResult.FAILED, None, message))
            continue
        outcomes.append(restore_actuator(actuator, record))
    journal.store(record)
    return outcomes


def drop_reset_by_reboot(
    machine: Machine, actuators: Mapping[str, Actuator], record: JournalRecord
) -> None:
    """Drop the originals of before a restart, but for what the machine keeps over one."""
    if record.boot_id == read_boot_id(machine):
        return
    for name in tuple(record.originals):
        if name in actuators and not actuators[name].survives_reboot:
            del record.originals[name]


def restore_actuator(actuator: Actuator, record: JournalRecord) -> ActuatorOutcome:
    """Put one back and forget its original; where that fails it stays in the record."""
    name = actuator.name
    try:
        actuator.restore(record.originals[name])
    except ActuatorError as error:
        return ActuatorOutcome(
            name, "", ActuatorResult.FAILED, read_or_none(actuator), f"{name}: {error}"
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        message = f"{name}: its original is not kept as this version does"
        return ActuatorOutcome(name, "", ActuatorResult.FAILED, read_or_none(actuator), message)
    del record.originals[name]
    now = read_or_none(actuator)
    return ActuatorOutcome(name, "", ActuatorResult.RESTORED, now, f"{name}: put back to {now}")


def read_or_none(actuator: Actuator) -> str | None:
    """Return the value in force, None where it cannot be read."""
    try:
        return actuator.read()
    except ActuatorError:
        return None
