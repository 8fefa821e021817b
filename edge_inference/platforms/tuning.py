"""Recommended settings of a robot's machine: compare, apply for good, and undo."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Actuator, ActuatorOutcome, Saved
from edge_inference.platforms.actuators.actuators import STATE_FOLDER
from edge_inference.platforms.actuators.guardian import JOURNAL_NAME
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.power_mode import PowerModeActuator
from edge_inference.platforms.actuators.registry import make_actuators
from edge_inference.platforms.actuators.session import ActuatorSession

_TUNE_JOURNAL = "tune.json"
_SWAPPINESS = "proc/sys/vm/swappiness"
_SWAPPINESS_FILE = "etc/sysctl.d/90-edge-inference.conf"
_LIMITS_FILE = "etc/security/limits.d/90-edge-inference.conf"
_FILE_HEADER = "# Written by `edge-inference platform tune --apply`; `--undo` removes it.\n"
# The kernel's own watchdogs run at 99.
_HIGHEST_PRIORITY = 98
_USER = re.compile(r"@?[A-Za-z_][\w.-]*\$?", re.ASCII)
_USER_LINE = re.compile(r"^(\S+)\s+-\s+rtprio\s+(\d+)\s*$", re.MULTILINE)

#: With this value the kernel swaps only when the memory is nearly full.
SWAPPINESS = "10"


class Swappiness:
    """Sets vm.swappiness now, and in a file for every boot."""

    name = "swappiness"
    survives_reboot = True

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> str:
        """Return what the actuator sets."""
        return "swapping of memory (vm.swappiness)"

    def choices(self) -> Sequence[str]:
        """Return nothing: any number from 0 to 100 is accepted."""
        return ()

    def read(self) -> str:
        """Return the current value."""
        return self._machine.read(_SWAPPINESS)

    def save(self) -> Saved:
        """Return the current value, and the text of our file if it exists."""
        return {"now": self.read(), "file": _read_text(self._machine, _SWAPPINESS_FILE)}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the writes."""
        self._check(value)
        steps = []
        if _read_text(self._machine, _SWAPPINESS_FILE) != self._file_text(value):
            steps.append(f"create {self._machine.root / _SWAPPINESS_FILE}")
        if self.read() != value:
            steps.append(f"write {value} to {self._machine.root / _SWAPPINESS}")
        return steps

    def set(self, value: str, saved: Saved) -> str:
        """Write file and value, and read back."""
        self._check(value)
        self._machine.replace(_SWAPPINESS_FILE, self._file_text(value))
        return self._write(value)

    def restore(self, saved: Saved) -> None:
        """Restore our file and the saved value."""
        self._machine.replace(_SWAPPINESS_FILE, saved["file"])
        difference = self._write(str(saved["now"]))
        if difference:
            raise ActuatorError(f"not restored: {difference}")

    def _write(self, value: str) -> str:
        self._machine.write(_SWAPPINESS, value)
        now = self.read()
        return "" if now == value else f"expected vm.swappiness {value}, got {now}"

    def _check(self, value: str) -> None:
        if not value.isdecimal() or int(value) > 100:
            raise ActuatorError(f"swappiness: expected a number from 0 to 100, got {value!r}")

    def _file_text(self, value: str) -> str:
        return f"{_FILE_HEADER}vm.swappiness = {value}\n"


class RealTimeLimits:
    """Allows a user or an ``@group`` to use real-time priorities and to lock memory.

    The value is the name of the user or the group.
    """

    name = "realtime_limits"
    survives_reboot = True

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> str:
        """Return what the actuator sets."""
        return "real-time priority and locked memory (rtprio, memlock)"

    def choices(self) -> Sequence[str]:
        """Return nothing: any user is accepted."""
        return ()

    def read(self) -> str:
        """Return the user in our file, and its limits."""
        match = _USER_LINE.search(_read_text(self._machine, _LIMITS_FILE) or "")
        return f"{match[1]}: rtprio {match[2]}, memlock unlimited" if match else "system default"

    def save(self) -> Saved:
        """Return the text of our file if it exists."""
        return {"file": _read_text(self._machine, _LIMITS_FILE)}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the writes."""
        if _read_text(self._machine, _LIMITS_FILE) == self._file_text(value):
            return []
        return [f"create {self._machine.root / _LIMITS_FILE}, effective from the next login"]

    def set(self, value: str, saved: Saved) -> str:
        """Write the file; it takes effect at the next login."""
        text = self._file_text(value)
        self._machine.replace(_LIMITS_FILE, text)
        same = _read_text(self._machine, _LIMITS_FILE) == text
        return "" if same else f"{_LIMITS_FILE}: expected the written text, got another"

    def restore(self, saved: Saved) -> None:
        """Restore our file."""
        self._machine.replace(_LIMITS_FILE, saved["file"])

    def _file_text(self, user: str) -> str:
        if not _USER.fullmatch(user):
            raise ActuatorError(f"realtime_limits: expected a user or @group, got {user!r}")
        return f"{_FILE_HEADER}{user} - rtprio {_HIGHEST_PRIORITY}\n{user} - memlock unlimited\n"


@dataclass(frozen=True)
class Recommendation:
    """One recommended setting; ``problem`` is the reason why it is not available here.

    ``steps`` are what ``apply`` would do; empty if the value is already set or not available.
    """

    actuator: str
    description: str
    current: str | None
    recommended: str | None
    steps: tuple[str, ...] = ()
    problem: str = ""


class Tuning:
    """Recommended settings for a robot of ``user``; the journal keeps every change until undone."""

    def __init__(self, machine: Machine, user: str) -> None:
        self._machine = machine
        self._folder = machine.root / STATE_FOLDER
        known = make_actuators(machine)
        self._actuators: dict[str, Actuator] = {
            name: known[name] for name in ("power_mode", "cpu_governor", "jetson_clocks")
        }
        for actuator in (Swappiness(machine), RealTimeLimits(machine)):
            self._actuators[actuator.name] = actuator
        self._recommended: dict[str, Callable[[], str]] = {
            "power_mode": PowerModeActuator(machine).find_most_powerful,
            "cpu_governor": lambda: "performance",
            "jetson_clocks": lambda: "on",
            "swappiness": lambda: SWAPPINESS,
            "realtime_limits": lambda: user,
        }

    @property
    def folder(self) -> Path:
        """Return the folder of the journal."""
        return self._folder

    def compare(self) -> list[Recommendation]:
        """Compare the current with the recommended values; changes nothing."""
        return [self._recommend(actuator) for actuator in self._actuators.values()]

    def apply(self) -> list[ActuatorOutcome]:
        """Set the recommended values that differ and are available.

        Raises ActuatorError if another process is the writer, or the journal cannot be written.
        """
        outcomes = self._restore_leftovers()
        session = self._session()
        session.start()
        try:
            for each in self.compare():
                if each.steps and each.recommended is not None:
                    outcomes += session.set(each.actuator, each.recommended)
        finally:
            session.end()
        return outcomes

    def undo(self) -> list[ActuatorOutcome]:
        """Restore what ``apply`` has changed; raises ActuatorError as ``apply`` does."""
        outcomes = self._restore_leftovers()
        session = self._session()
        session.start()
        try:
            return outcomes + session.restore_all()
        finally:
            session.end()

    def _restore_leftovers(self) -> list[ActuatorOutcome]:
        """Restore what is left of a program that was killed together with its guardian."""
        session = ActuatorSession(
            self._machine,
            self._folder,
            JOURNAL_NAME,
            make_actuators(self._machine),
            _start_no_guardian,
        )
        outcomes = session.start()
        session.end()
        return outcomes

    def _session(self) -> ActuatorSession:
        return ActuatorSession(
            self._machine,
            self._folder,
            _TUNE_JOURNAL,
            self._actuators,
            _start_no_guardian,
            persistent=True,
        )

    def _recommend(self, actuator: Actuator) -> Recommendation:
        name, description = actuator.name, actuator.describe()
        current = value = None
        try:
            current = actuator.read()
            value = self._recommended[name]()
            steps = tuple(actuator.plan(value, None))
            return Recommendation(name, description, current, value, steps)
        except ActuatorError as error:
            return Recommendation(name, description, current, value, problem=str(error))


def _start_no_guardian(writer: str) -> None:
    """Do nothing: these settings stay after the process ends."""


def _read_text(machine: Machine, path: str) -> str | None:
    """Return the text of one of our files, None if it does not exist."""
    file = machine.root / path
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ActuatorError(f"{file}: {error.strerror}") from error
