"""Runs a command that loads a model in a child process with limited memory and time.

A model file of a few bytes can demand any amount of memory and time, and only running it shows
how much. The child is a fork of this process, made before heavy modules are imported. It has its
own process group, so that a signal reaches it only from the parent and only once, and so that the
parent can end all of its processes.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from edge_inference.cli.arguments import MEMORY_OPTION, TIMEOUT_OPTION
from edge_inference.cli.exit_status import (
    EXIT_FAILED,
    EXIT_SIGNALED,
    print_error,
    run_command,
    run_process,
)
from edge_inference.core.runtime.memory_limit import limit_memory

_PR_SET_PDEATHSIG = 1
_WATCHED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCHLD}
#: Exit code where the reader of the output closes it early: the work or its report is incomplete.
_CLOSED = EXIT_SIGNALED + signal.SIGPIPE
#: Time that the child has after a second signal.
_SECOND_GRACE_S = 1.0
#: Name of a link in the temporary folder to a folder that is removed if the child is killed.
_STAGED = "staged"

_folder: str | None = None


@dataclass(frozen=True)
class ChildLimits:
    """Maximum memory and time for one child, and its grace period after a signal."""

    memory_mib: int
    timeout_s: int
    grace_s: float


def run_bounded(options: argparse.Namespace, started_s: float) -> int:
    """Run a command in one child process for each model; return the highest exit code."""
    given = getattr(options, options.bounded)
    models = given if isinstance(given, list) else [given or getattr(options, "onnx", "")]
    limits = ChildLimits(options.max_memory_mib, options.timeout_s, options.grace_s)
    worst = 0
    for model in models:
        child_options = argparse.Namespace(**vars(options))
        if isinstance(given, list):
            setattr(child_options, options.bounded, [model])
        code = _Child(str(model), limits).run(partial(options.start, child_options, started_s))
        worst = max(worst, code)
        if code >= EXIT_SIGNALED:
            break
    return worst


def remove_with_child(staged: Path) -> None:
    """Register a folder, before it is made, for removal if this child process is killed."""
    if _folder is not None:
        with suppress(OSError):  # a later run with the same target removes it
            Path(_folder, _STAGED).symlink_to(staged.absolute())


def _set_folder(folder: str) -> None:
    global _folder
    _folder = folder


class _Child:
    """One child process, from its start to its end."""

    def __init__(self, subject: str, limits: ChildLimits) -> None:
        self._subject = subject
        self._limits = limits
        self._pid = 0
        self._received_signal: int | None = None

    def run(self, work: Callable[[], int]) -> int:
        """Fork, wait for the child, and return the exit code."""
        folder = _temporary_folder()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, there would be no exit status
        before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED))
        parent = os.getpid()
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self._run_in_child(work, parent, before, folder)
            with suppress(OSError):  # the child did it first, or has ended already
                os.setpgid(self._pid, self._pid)
            return self._wait()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if folder is not None:
                with suppress(OSError):  # usually there is no such link
                    shutil.rmtree(Path(folder, _STAGED).readlink(), ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)

    def _run_in_child(
        self,
        work: Callable[[], int],
        parent: int,
        mask: set[int | signal.Signals],
        folder: str | None,
    ) -> NoReturn:
        code = EXIT_FAILED
        try:
            os.setpgid(0, 0)
            # A background process group may then still write to the terminal.
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(code)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if folder is not None:
                os.environ["TMPDIR"] = tempfile.tempdir = folder
                _set_folder(folder)
            if isinstance(sys.stdout, io.TextIOWrapper):  # output survives if the child is killed
                sys.stdout.reconfigure(line_buffering=True)
            limit_memory(self._limits.memory_mib, MEMORY_OPTION)
            subject = self._subject
            code = run_process(
                lambda: run_command(work, subject), "edge-inference", subject, _CLOSED
            )
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _wait(self) -> int:
        end_s = time.monotonic() + self._limits.timeout_s if self._limits.timeout_s else None
        while True:
            left_s = 3600.0 if end_s is None else max(end_s - time.monotonic(), 0.0)
            received = signal.sigtimedwait(_WATCHED, left_s)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return self._exit_code(os.waitstatus_to_exitcode(status))
            if received is None and end_s is not None and time.monotonic() >= end_s:
                return self._kill()
            if received is None or received.si_signo == signal.SIGCHLD:
                continue
            if received.si_signo == signal.SIGTSTP:
                paused_s = self._pause()
                end_s = None if end_s is None else end_s + paused_s
                continue
            # Inside a library call the child handles no signal, so its time is limited.
            grace_s = self._limits.grace_s if self._received_signal is None else _SECOND_GRACE_S
            end_s = min(time.monotonic() + grace_s, math.inf if end_s is None else end_s)
            self._received_signal = received.si_signo
            os.killpg(self._pid, received.si_signo)

    def _pause(self) -> float:
        """Stop the child and this process (Ctrl-Z) until SIGCONT; return the length of the stop."""
        start_s = time.monotonic()
        os.killpg(self._pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(self._pid, signal.SIGCONT)
        return time.monotonic() - start_s

    def _kill(self) -> int:
        """End a child that is out of time; return the exit code."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        if self._received_signal is not None:
            sys.stderr.write("edge-inference: interrupted\n")
            return EXIT_SIGNALED + self._received_signal
        print_error(
            f"{self._subject}: not finished after {self._limits.timeout_s} s; if this time is "
            f"expected, raise {TIMEOUT_OPTION} (0: no limit)"
        )
        return EXIT_FAILED

    def _exit_code(self, code: int) -> int:
        """Return the exit code; print the cause where a signal ended the child."""
        if code >= 0:
            return code
        if -code == self._received_signal:
            sys.stderr.write("edge-inference: interrupted\n")
            return EXIT_SIGNALED - code
        name = signal.Signals(-code).name
        cause = (
            "probably the kernel, because memory is short; end other programs, or lower "
            f"{MEMORY_OPTION} ({self._limits.memory_mib} now)"
            if -code == signal.SIGKILL
            else "its files are damaged or malicious, a library has a bug, or the memory limit is "
            f"too low ({MEMORY_OPTION}, {self._limits.memory_mib} now)"
        )
        print_error(f"{self._subject}: its process was ended by {name}: {cause}")
        return EXIT_FAILED


def _temporary_folder() -> str | None:
    """Return a folder for the child's temporary files, None where it cannot be made."""
    try:
        return tempfile.mkdtemp(prefix="edge_inference_")
    except OSError:  # code that needs a temporary folder reports the error
        return None
