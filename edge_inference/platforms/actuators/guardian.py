"""A watchdog process that restores the originals after the writer has been killed.

It reads standard input, to which nothing is ever written: end of file means that the
writer has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import edge_inference
from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.journal import Journal
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.registry import make_actuators
from edge_inference.platforms.actuators.restore import restore_all
from edge_inference.platforms.actuators.writer_lock import WriterLock

JOURNAL_NAME = "actuators.json"
_READY = b"+"
_READY_TIMEOUT_S = 20.0
_EXIT_TIMEOUT_S = 5.0
_LOCK_POLL_S = 0.05
# Runs in Python's isolated mode: no modules of the environment or the working folder are needed.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    f"from {__name__} import main; sys.exit(main(sys.argv[2:]))"
)


class Guardian:
    """The writer's handle: starts the process, and releases it after everything is restored."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @classmethod
    def start(
        cls, machine: Machine, state_folder: Path, writer: str, gpu_names: tuple[str, ...]
    ) -> Guardian:
        """Start the process and wait until it is ready; raises ActuatorError if it is not."""
        description = {
            "root": str(machine.root),
            "search_path": machine.search_path,
            "timeout_s": machine.timeout_s,
            "gpu_names": gpu_names,
        }
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        command += [str(Path(edge_inference.__file__).parents[1]), str(state_folder), writer]
        try:
            process = subprocess.Popen(
                [*command, json.dumps(description)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ActuatorError(f"the guardian cannot be started: {error.strerror}") from error
        guardian = cls(process)
        if not guardian._is_ready():
            guardian.release()
            raise ActuatorError(
                f"the guardian was not ready within {_READY_TIMEOUT_S:g} s; nothing was changed"
            )
        return guardian

    def release(self) -> None:
        """Close its input; it ends if nothing is left to restore. Waits for a few seconds."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_TIMEOUT_S)

    def _is_ready(self) -> bool:
        output = self._process.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], _READY_TIMEOUT_S)
        return bool(readable) and os.read(output.fileno(), 1) == _READY


def restore_when_writer_ended(
    state_folder: Path, writer: str, machine: Machine, gpu_names: tuple[str, ...]
) -> None:
    """Restore what this writer has left in the journal, as soon as the lock is free.

    A process that becomes the writer earlier restores it, or adopts it under its own name.
    """
    journal = Journal(state_folder / JOURNAL_NAME)
    lock = WriterLock(state_folder)
    while (record := journal.load()) is not None and record.writer == writer:
        try:
            lock.acquire()
        except ActuatorError:
            time.sleep(_LOCK_POLL_S)
            continue
        try:
            record = journal.load()
            if record is not None and record.writer == writer:
                restore_all(machine, make_actuators(machine, gpu_names), journal, record)
            return
        finally:
            lock.release()


def main(arguments: list[str]) -> int:
    """Wait for the end of standard input; arguments: state folder, writer, the machine as JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # sent to the writer; its end is awaited
    state_folder, writer, description = arguments
    values = json.loads(description)
    machine = Machine(Path(values["root"]), values["search_path"], values["timeout_s"])
    os.write(sys.stdout.fileno(), _READY)
    while os.read(sys.stdin.fileno(), 1):
        continue
    restore_when_writer_ended(Path(state_folder), writer, machine, tuple(values["gpu_names"]))
    return 0
