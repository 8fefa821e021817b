"""What actuators that only write files of the kernel's have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.machine import Machine

#: A file and the text that it is to hold, in the order of writing.
Writes = Sequence[tuple[str, str]]


def describe_writes(machine: Machine, writes: Writes) -> list[str]:
    """Say what writing would do, leaving out what is there already."""
    return [
        f"write {text} to {machine.root / path}" for path, text in find_pending(machine, writes)
    ]


def find_pending(machine: Machine, writes: Writes) -> list[tuple[str, str]]:
    """Return the writes that would change something."""
    return [(path, text) for path, text in writes if machine.read(path) != text]


def write_all(machine: Machine, writes: Writes) -> None:
    """Write in order what is not there already; raises ActuatorError at the first refusal."""
    for path, text in writes:
        if machine.read(path) != text:
            machine.write(path, text)


def find_differences(machine: Machine, writes: Writes) -> str:
    """Read back; return what differs from what was written, or an empty text."""
    found = []
    for path, text in writes:
        now = machine.read(path)
        if now != text:
            found.append(f"{machine.root / path} is {now}, asked was {text}")
    return "; ".join(found)


def save_files(machine: Machine, paths: Sequence[str]) -> dict[str, Any]:
    """Return what files hold."""
    return {"files": {path: machine.read(path) for path in paths}}


def get_saved_text(saved: Mapping[str, Any], path: str) -> str:
    """Return what a file held; raises ActuatorError for one that was not saved."""
    text = saved["files"].get(path)
    if text is None:
        raise ActuatorError(f"/{path}: appeared after the first change; its original is not known")
    return str(text)


def restore_files(machine: Machine, saved: Mapping[str, Any]) -> None:
    """Make files hold again what they held; a file that is gone has nothing to put back.

    A kernel may refuse a lowest frequency above the highest one that another write is
    yet to raise, so what is refused is tried once more after the others.
    """
    originals = {p: str(t) for p, t in saved["files"].items() if machine.exists(p)}
    for last_try in (False, True):
        for path, text in find_pending(machine, tuple(originals.items())):
            try:
                machine.write(path, text)
            except ActuatorError:
                if last_try:
                    raise
    leftover = find_differences(machine, tuple(originals.items()))
    if leftover:
        raise ActuatorError(f"could not be put back: {leftover}")
