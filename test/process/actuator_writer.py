"""A process that sets clocks and modes, for tests that end it.

``python actuator_writer.py ROOT FATAL_WRITE REQUESTS…``: kills itself before the
FATAL_WRITE-th write to the kernel's files (0: never). REQUESTS are ``cap=0.5`` or
``<actuator>=<value>``, carried out one after another. Then it prints ``ready`` and the
process id of its guardian, and reads commands: ``close`` ends it in order, ``exit``
without closing.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES

_DEADLINE_S = 20.0


class FatalMachine(Machine):
    """A machine whose writer is killed before a write."""

    writes = 0
    fatal = 0

    def write(self, path: str, text: str) -> None:
        FatalMachine.writes += 1
        if FatalMachine.writes == FatalMachine.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(path, text)


def main(root: Path, fatal: int, requests: list[str]) -> None:
    FatalMachine.fatal = fatal
    machine = FatalMachine(root, str(root / "usr" / "bin"), _DEADLINE_S)
    actuators = Actuators(ACTUATOR_NAMES, machine=machine)
    for name, _, value in (request.partition("=") for request in requests):
        if name == "cap":
            actuators.cap_clocks(float(value))
        else:
            actuators.request(name, value)
        actuators.wait_until_idle(_DEADLINE_S)
    guardian = actuators._guardian
    print("ready", guardian.pid if guardian else "", flush=True)
    for line in sys.stdin:
        if line.strip() == "close":
            actuators.close()
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
