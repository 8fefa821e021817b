"""Samples the Python stacks of a process with py-spy, where that is installed."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from pathlib import Path

from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError

#: py-spy's formats by the suffix of the file: flame graph, speedscope, one line for each stack.
FORMATS = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}
_PR_SET_PTRACER = 0x59616D61
_RATE_HZ = 100
_END_S = 60.0


def find_py_spy() -> str:
    """Return the path of py-spy. Raises ConfigError where it is missing."""
    found = shutil.which("py-spy")
    if found is None:
        raise ConfigError("--stacks needs py-spy, which is not installed; pip install py-spy")
    return found


class StackSampler:
    """Samples a process from now until ``finish``; the process goes on meanwhile.

    ``pid`` is this process or one that this user may trace. Raises ConfigError for an unknown
    suffix of ``file``, or without py-spy.
    """

    def __init__(self, pid: int, file: Path) -> None:
        if file.suffix not in FORMATS:
            raise ConfigError(f"--stacks {file}: expected a name that ends in {', '.join(FORMATS)}")
        self._file = file
        command = [find_py_spy(), "record", "--pid", str(pid), "--output", str(file)]
        command += ["--format", FORMATS[file.suffix], "--rate", str(_RATE_HZ), "--threads"]
        command += ["--nonblocking", "--duration", "unlimited"]
        # Its own session: Ctrl-C ends this process first, which then ends the sampler.
        self._sampler = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        if pid == os.getpid():
            # Many systems let only a parent trace its child; here it is the other way round.
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, self._sampler.pid, 0, 0, 0)

    def finish(self) -> None:
        """End the sampling and wait for the file. Raises ConfigError where there is none."""
        if self._sampler.poll() is None:
            self._sampler.send_signal(signal.SIGINT)  # py-spy then writes its file
        try:
            _, errors = self._sampler.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._sampler.kill()
            _, errors = self._sampler.communicate()
        if self._sampler.returncode == -signal.SIGINT:
            raise ConfigError(
                f"--stacks {self._file}: py-spy was not ready when the run ended; measure longer"
            )
        if not self._file.is_file() or self._file.stat().st_size == 0:
            lines = [line for line in errors.splitlines() if line.strip()]
            reason = one_line(lines[0], 200) if lines else "it gives no reason"
            raise ConfigError(
                f"--stacks {self._file}: py-spy wrote no stacks ({reason}); allow this user to "
                "trace processes (in a container: --cap-add SYS_PTRACE)"
            )
