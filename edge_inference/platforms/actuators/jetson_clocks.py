"""Clocks locked at their maximum with jetson_clocks: stored before, restored after."""

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
# jetson_clocks also stores the speed of the fan, and would restore it.
_FAN_LINE = re.compile(r"fan|pwm", re.IGNORECASE)


class JetsonClocks:
    """Accepts ``on`` and ``off``; ``off`` only restores what was stored before our ``on``."""

    name = "jetson_clocks"
    survives_reboot = False

    def __init__(self, machine: Machine, gpu: ClockDomain) -> None:
        self._machine = machine
        self._gpu = gpu

    def describe(self) -> str:
        """Return what the actuator sets."""
        return "clocks locked at their maximum (jetson_clocks)"

    def choices(self) -> Sequence[str]:
        """Return on and off."""
        return ("on", "off")

    def read(self) -> str:
        """Return on if minimum and maximum are equal for every CPU cluster and the GPU."""
        self._machine.find_tool(_TOOL)
        return "on" if all(low == high for low, high in self._ranges()) else "off"

    def save(self) -> Saved:
        """Let jetson_clocks store the clocks, and return the stored text without the fan."""
        if self.read() == "on":
            raise ActuatorError("jetson_clocks: another program has already locked the clocks")
        with _new_file() as file:
            self._machine.run(_TOOL, "--store", str(file))
            if not file.exists():
                raise ActuatorError("jetson_clocks --store: expected a file, got none")
            stored = file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in stored.splitlines() if not _FAN_LINE.search(line)]
        return {"stored": "\n".join(lines) + "\n"}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the commands."""
        if value not in self.choices():
            raise ActuatorError(f"jetson_clocks: expected on or off, got {value!r}")
        if value == self.read():
            return []
        if value == "off":
            if saved is None:
                raise ActuatorError(
                    "jetson_clocks: another program has locked the clocks; only that program "
                    "can restore them"
                )
            return ["run jetson_clocks --restore with the stored file"]
        return ["run jetson_clocks --store and leave out the fan", "run jetson_clocks"]

    def set(self, value: str, saved: Saved) -> str:
        """Lock or unlock the clocks, and read back."""
        if value == "off":
            self._restore(saved)
        else:
            self._machine.run(_TOOL)
        now = self.read()
        return "" if now == value else f"expected locked clocks {value}, got {now}"

    def restore(self, saved: Saved) -> None:
        """Restore the stored clocks, even if only some were locked."""
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
    """Yield a path without a file: jetson_clocks asks before it overwrites one.

    Raises ActuatorError for an OSError in the block.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
            yield Path(folder) / "clocks.conf"
    except OSError as error:
        raise ActuatorError(f"jetson_clocks: temporary file: {error}") from error
