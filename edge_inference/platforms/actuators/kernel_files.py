"""Writing, comparing and restoring kernel files, for the actuators that set them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.machine import Machine

#: Files and the texts to write, in the order of writing.
Writes = Sequence[tuple[str, str]]


def describe_writes(machine: Machine, writes: Writes) -> list[str]:
    """Describe the writes that would change something."""
    return [
        f"write {text} to {machine.root / path}" for path, text in find_pending(machine, writes)
    ]


def find_pending(machine: Machine, writes: Writes) -> list[tuple[str, str]]:
    """Return the writes that would change something."""
    return [(path, text) for path, text in writes if machine.read(path) != text]


def write_all(machine: Machine, writes: Writes) -> None:
    """Make the writes that change something, in order; raises ActuatorError at a failure."""
    for path, text in writes:
        if machine.read(path) != text:
            machine.write(path, text)


def find_differences(machine: Machine, writes: Writes) -> str:
    """Read back; return the differences, or an empty string."""
    found = []
    for path, text in writes:
        now = machine.read(path)
        if now != text:
            found.append(f"{machine.root / path}: expected {text}, got {now}")
    return "; ".join(found)


def save_files(machine: Machine, paths: Sequence[str]) -> dict[str, Any]:
    """Return the contents of files."""
    return {"files": {path: machine.read(path) for path in paths}}


def get_saved_text(saved: Mapping[str, Any], path: str) -> str:
    """Return the saved content of a file; raises ActuatorError if it was not saved."""
    text = saved["files"].get(path)
    if text is None:
        raise ActuatorError(f"/{path}: appeared after the first change; its original is unknown")
    return str(text)


def restore_files(machine: Machine, saved: Mapping[str, Any]) -> None:
    """Restore the saved contents of files; a file that no longer exists is skipped.

    A kernel may refuse a minimum frequency above the current maximum, which a later write
    raises. So each refused write is retried once after the others.
    """
    originals = {p: str(t) for p, t in saved["files"].items() if machine.exists(p)}
    for last_try in (False, True):
        for path, text in find_pending(machine, tuple(originals.items())):
            try:
                machine.write(path, text)
            except ActuatorError:
                if last_try:
                    raise
    difference = find_differences(machine, tuple(originals.items()))
    if difference:
        raise ActuatorError(f"not restored: {difference}")
