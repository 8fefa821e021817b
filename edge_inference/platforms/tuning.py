"""What a robot wants of its machine, and how to give it that for good, or take it back."""

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
_HEAD = "# Written by `edge-inference platform tune --apply`; `--undo` takes it away.\n"
# The kernel's own watchdogs run at 99.
_HIGHEST_PRIORITY = 98
_USER = re.compile(r"@?[A-Za-z_][\w.-]*\$?", re.ASCII)
_USER_LINE = re.compile(r"^(\S+)\s+-\s+rtprio\s+(\d+)\s*$", re.MULTILINE)

#: The kernel swaps out what a robot will need again only when memory is nearly full.
SWAPPINESS = "10"


class Swappiness:
    """Sets vm.swappiness now, and in a file for every start."""

    name = "swappiness"
    survives_reboot = True

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> str:
        """Say what it sets."""
        return "how readily memory is swapped out (vm.swappiness)"

    def choices(self) -> Sequence[str]:
        """Return nothing: any number from 0 to 100 is taken."""
        return ()

    def read(self) -> str:
        """Return the value in force."""
        return self._machine.read(_SWAPPINESS)

    def save(self) -> Saved:
        """Return the value in force, and our file's text if it is there."""
        return {"now": self.read(), "file": _text_of(self._machine, _SWAPPINESS_FILE)}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Say what would be written."""
        self._check(value)
        steps = []
        if _text_of(self._machine, _SWAPPINESS_FILE) != self._file_text(value):
            steps.append(f"make {self._machine.root / _SWAPPINESS_FILE}")
        if self.read() != value:
            steps.append(f"write {value} to {self._machine.root / _SWAPPINESS}")
        return steps

    def set(self, value: str, saved: Saved) -> str:
        """Write both and read back."""
        self._check(value)
        self._machine.replace(_SWAPPINESS_FILE, self._file_text(value))
        return self._write(value)

    def restore(self, saved: Saved) -> None:
        """Write the saved value, and have our file as it was."""
        self._machine.replace(_SWAPPINESS_FILE, saved["file"])
        leftover = self._write(str(saved["now"]))
        if leftover:
            raise ActuatorError(f"could not be put back: {leftover}")

    def _write(self, value: str) -> str:
        self._machine.write(_SWAPPINESS, value)
        now = self.read()
        return "" if now == value else f"vm.swappiness is {now}, asked was {value}"

    def _check(self, value: str) -> None:
        if not value.isdecimal() or int(value) > 100:
            raise ActuatorError(f"swappiness: expected a number from 0 to 100, got {value!r}")

    def _file_text(self, value: str) -> str:
        return f"{_HEAD}vm.swappiness = {value}\n"


class RealTimeLimits:
    """Lets a user, or an ``@group``, use real-time priorities and lock memory, by its name."""

    name = "realtime_limits"
    survives_reboot = True

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> str:
        """Say what it sets."""
        return "real-time priority and locked memory (rtprio, memlock)"

    def choices(self) -> Sequence[str]:
        """Return nothing: any user is taken."""
        return ()

    def read(self) -> str:
        """Return whom our file names, and what it permits."""
        match = _USER_LINE.search(_text_of(self._machine, _LIMITS_FILE) or "")
        return f"{match[1]}: rtprio {match[2]}, memlock unlimited" if match else "the system's"

    def save(self) -> Saved:
        """Return our file's text if it is there."""
        return {"file": _text_of(self._machine, _LIMITS_FILE)}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Say what would be written."""
        if _text_of(self._machine, _LIMITS_FILE) == self._file_text(value):
            return []
        return [f"make {self._machine.root / _LIMITS_FILE}, in force from the next login"]

    def set(self, value: str, saved: Saved) -> str:
        """Write the file; it holds from the next login."""
        text = self._file_text(value)
        self._machine.replace(_LIMITS_FILE, text)
        same = _text_of(self._machine, _LIMITS_FILE) == text
        return "" if same else f"{_LIMITS_FILE} holds something else"

    def restore(self, saved: Saved) -> None:
        """Have our file as it was."""
        self._machine.replace(_LIMITS_FILE, saved["file"])

    def _file_text(self, user: str) -> str:
        if not _USER.fullmatch(user):
            raise ActuatorError(f"realtime_limits: expected the name of a user, got {user!r}")
        return f"{_HEAD}{user} - rtprio {_HIGHEST_PRIORITY}\n{user} - memlock unlimited\n"


@dataclass(frozen=True)
class Recommendation:
    """One thing that a robot wants: ``problem`` says why it cannot be had on this machine.

    ``steps`` is what would be done; empty where all is as wanted, or cannot be had.
    """

    actuator: str
    what: str
    now: str | None
    wanted: str | None
    steps: tuple[str, ...] = ()
    problem: str = ""


class Tuning:
    """What a robot of ``user`` wants of a machine; every change is journalled until undone."""

    def __init__(self, machine: Machine, user: str) -> None:
        self._machine = machine
        self._folder = machine.root / STATE_FOLDER
        known = make_actuators(machine)
        self._actuators: dict[str, Actuator] = {
            name: known[name] for name in ("power_mode", "cpu_governor", "jetson_clocks")
        }
        for actuator in (Swappiness(machine), RealTimeLimits(machine)):
            self._actuators[actuator.name] = actuator
        self._wanted: dict[str, Callable[[], str]] = {
            "power_mode": PowerModeActuator(machine).find_most_powerful,
            "cpu_governor": lambda: "performance",
            "jetson_clocks": lambda: "on",
            "swappiness": lambda: SWAPPINESS,
            "realtime_limits": lambda: user,
        }

    @property
    def folder(self) -> Path:
        """Return the folder in which the originals are kept."""
        return self._folder

    def look(self) -> list[Recommendation]:
        """Compare what is with what is wanted; changes nothing."""
        return [self._advice(actuator) for actuator in self._actuators.values()]

    def apply(self) -> list[ActuatorOutcome]:
        """Set what differs, as far as the machine has it.

        Raises ActuatorError where another process is the writer, or nothing can be kept.
        """
        outcomes = self._put_back_left_behind()
        session = self._session()
        session.start()
        try:
            for advice in self.look():
                if advice.steps and advice.wanted is not None:
                    outcomes.append(session.set(advice.actuator, advice.wanted))
        finally:
            session.end()
        return outcomes

    def undo(self) -> list[ActuatorOutcome]:
        """Put back what ``apply`` changed; raises ActuatorError as that does."""
        outcomes = self._put_back_left_behind()
        session = self._session()
        session.start()
        try:
            return outcomes + session.restore_all()
        finally:
            session.end()

    def _put_back_left_behind(self) -> list[ActuatorOutcome]:
        """Put back what a program that was killed, and its guardian with it, has left."""
        session = ActuatorSession(
            self._machine, self._folder, JOURNAL_NAME, make_actuators(self._machine), _no_guard
        )
        outcomes = session.start()
        session.end()
        return outcomes

    def _session(self) -> ActuatorSession:
        return ActuatorSession(
            self._machine, self._folder, _TUNE_JOURNAL, self._actuators, _no_guard, persistent=True
        )

    def _advice(self, actuator: Actuator) -> Recommendation:
        name, what = actuator.name, actuator.describe()
        now = wanted = None
        try:
            now = actuator.read()
            wanted = self._wanted[name]()
            return Recommendation(name, what, now, wanted, tuple(actuator.plan(wanted, None)))
        except ActuatorError as error:
            return Recommendation(name, what, now, wanted, problem=str(error))


def _no_guard(writer: str) -> None:
    """Nobody need watch: what is set here is to last."""


def _text_of(machine: Machine, path: str) -> str | None:
    """Return the text of a file of ours as it is, None where there is none."""
    file = machine.root / path
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ActuatorError(f"{file}: {error.strerror}") from error
