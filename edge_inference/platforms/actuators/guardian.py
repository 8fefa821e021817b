"""A small process that outlives the writer and puts everything back if it cannot itself.

It reads standard input, on which nothing is ever written: its end is the writer's end.
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
# Run by Python without its environment's or the working folder's modules: we need none.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    f"from {__name__} import main; sys.exit(main(sys.argv[2:]))"
)


class Guardian:
    """The writer's side: starts the process, and lets it go when all is put back."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        return self._process.pid

    @classmethod
    def start(
        cls, machine: Machine, state_folder: Path, writer: str, gpu_names: tuple[str, ...]
    ) -> Guardian:
        """Start it and wait until it watches; raises ActuatorError where it does not."""
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
            raise ActuatorError("the guardian did not come up; nothing was changed")
        return guardian

    def release(self) -> None:
        """Close its input; where all is put back it ends. Does not wait for long."""
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
    """Put back what this writer has left in the journal, once nobody else is the writer.

    Whoever becomes the writer before us puts it back, or takes it over under its own name.
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
    """Watch standard input until its end; arguments: state folder, writer, the machine as JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the writer, whose end is awaited
    state_folder, writer, description = arguments
    given = json.loads(description)
    machine = Machine(Path(given["root"]), given["search_path"], given["timeout_s"])
    os.write(sys.stdout.fileno(), _READY)
    while os.read(sys.stdin.fileno(), 1):
        continue
    restore_when_writer_ended(Path(state_folder), writer, machine, tuple(given["gpu_names"]))
    return 0
