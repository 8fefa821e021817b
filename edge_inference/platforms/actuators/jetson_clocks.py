"""Clocks locked at their highest with jetson_clocks: stored before, restored after."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Saved
from edge_inference.platforms.actuators.clock_domain import CPU, ClockDomain
from edge_inference.platforms.actuators.machine import Machine

_TOOL = "jetson_clocks"
# jetson_clocks also stores how fast the fan was, and would set it back to that.
_FAN_LINE = re.compile(r"fan|pwm", re.IGNORECASE)


class JetsonClocks:
    """Takes ``on`` and ``off``; ``off`` only brings back what was stored before our ``on``."""

    name = "jetson_clocks"
    survives_reboot = False

    def __init__(self, machine: Machine, gpu: ClockDomain) -> None:
        self._machine = machine
        self._gpu = gpu

    def describe(self) -> str:
        """Say what it sets."""
        return "clocks locked at their highest (jetson_clocks)"

    def choices(self) -> Sequence[str]:
        """Return both."""
        return ("on", "off")

    def read(self) -> str:
        """Return on where each CPU cluster and GPU has but one frequency allowed."""
        self._machine.find_tool(_TOOL)
        return "on" if all(low == high for low, high in self._ranges()) else "off"

    def save(self) -> Saved:
        """Let jetson_clocks store the clocks, and return what it wrote, without the fan."""
        if self.read() == "on":
            raise ActuatorError("jetson_clocks: the clocks are locked already, by somebody else")
        with _new_file() as file:
            self._machine.run(_TOOL, "--store", str(file))
            if not file.exists():
                raise ActuatorError("jetson_clocks --store: it has written nothing")
            stored = file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in stored.splitlines() if not _FAN_LINE.search(line)]
        return {"stored": "\n".join(lines) + "\n"}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Say what would be run."""
        if value not in self.choices():
            raise ActuatorError(f"jetson_clocks: expected on or off, got {value!r}")
        if value == self.read():
            return []
        if value == "off":
            if saved is None:
                raise ActuatorError(
                    "jetson_clocks: somebody else has locked the clocks and only they have "
                    "stored what to go back to"
                )
            return ["run jetson_clocks --restore with what was stored"]
        return ["run jetson_clocks --store, without what it says of the fan", "run jetson_clocks"]

    def set(self, value: str, saved: Saved) -> str:
        """Lock or free, and read back."""
        if value == "off":
            self._restore(saved)
        else:
            self._machine.run(_TOOL)
        now = self.read()
        return "" if now == value else f"locked clocks are {now}, asked was {value}"

    def restore(self, saved: Saved) -> None:
        """Bring the stored clocks back, also where only some had been locked."""
        self._restore(saved)
        if self.read() == "on":
            raise ActuatorError("jetson_clocks --restore: the clocks are still locked")

    def _restore(self, saved: Saved) -> None:
        with _new_file() as file:
            file.write_text(str(saved["stored"]), encoding="utf-8")
            self._machine.run(_TOOL, "--restore", str(file))

    def _ranges(self) -> Iterator[tuple[str, str]]:
        domains = [CPU]
        if self._machine.list_folders(self._gpu.parent, *self._gpu.patterns):
            domains.append(self._gpu)
        for domain in domains:
            for folder in domain.list_folders(self._machine):
                low = self._machine.read(f"{folder}/{domain.min_file}")
                yield low, self._machine.read(f"{folder}/{domain.max_file}")


@contextmanager
def _new_file() -> Iterator[Path]:
    """Yield the path of a file that is not there: jetson_clocks asks before it overwrites one.

    Raises ActuatorError for what goes wrong with files meanwhile.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
            yield Path(folder) / "clocks.conf"
    except OSError as error:
        raise ActuatorError(f"jetson_clocks: the file that it stores in: {error}") from error
