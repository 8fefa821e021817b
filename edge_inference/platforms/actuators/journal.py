"""The journal: the settings before the first change, on disk until they are restored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import read_json
from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Saved
from edge_inference.platforms.actuators.machine import Machine

_BOOT = "proc/sys/kernel/random/boot_id"


@dataclass
class JournalRecord:
    """The originals by actuator, in the order of the first changes.

    ``writer`` is the unique id of the writer, ``boot_id`` that of the boot in which the
    originals were read.
    """

    writer: str
    boot_id: str
    originals: dict[str, Saved] = field(default_factory=dict)


class Journal:
    """One file; every change is on disk before the call returns."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def load(self) -> JournalRecord | None:
        """Return the record, None if there is no file; raises ActuatorError if it is damaged."""
        try:
            content = read_json(self.file)
            return JournalRecord(
                str(content["writer"]), str(content["boot_id"]), _originals(content["originals"])
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ActuatorError(f"{self.file}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ActuatorError(
                f"{self.file}: damaged, so the original settings are unknown; check the machine's "
                "settings (a reboot resets the clocks) and remove the file"
            ) from error

    def store(self, record: JournalRecord) -> None:
        """Replace the record; a record without originals removes the file."""
        try:
            if record.originals:
                self._write(json.dumps(record.__dict__, indent=1))
            else:
                self.file.unlink(missing_ok=True)
                _sync_folder(self.file.parent)
        except OSError as error:
            raise ActuatorError(f"{self.file}: {error.strerror}; nothing was changed") from error

    def _write(self, text: str) -> None:
        new_file = self.file.with_suffix(".new")
        with new_file.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new_file.replace(self.file)
        _sync_folder(self.file.parent)


def read_boot_id(machine: Machine) -> str:
    """Return the kernel's id of this boot; empty if it has none."""
    return machine.read(_BOOT) if machine.exists(_BOOT) else ""


def _originals(content: Any) -> dict[str, Saved]:
    if not all(isinstance(saved, Mapping) for saved in content.values()):
        raise ValueError("expected a mapping for each actuator")
    return dict(content)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
