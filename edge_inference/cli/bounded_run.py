"""What a model costs, bounded: the work with it is done in a child, with so much memory and time.

A file of a few bytes can ask for any amount of either, and nobody can tell before it has run. The
child is this process once more, forked before anything heavy is imported. It has a process group
of its own, so that a signal reaches it through us alone and once, and nothing of it stays behind.
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
    EXIT_SIGNALLED,
    print_error,
    run_command,
    run_process,
)
from edge_inference.core.runtime.memory_limit import limit_memory

_PR_SET_PDEATHSIG = 1
_WATCHED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCHLD}
#: What a shell gives where nobody reads the output: then the work is not done, or not told of.
_CLOSED = EXIT_SIGNALLED + signal.SIGPIPE
#: So long at most a second signal waits for the child.
_AGAIN_S = 1.0
#: A link in the temporary folder, to what else goes where the child is killed.
_STAGED = "staged"

_folder: str | None = None


@dataclass(frozen=True)
class ChildLimits:
    """What one piece of work may take."""

    memory_mib: int
    timeout_s: int
    grace_s: float


def run_bounded(options: argparse.Namespace, started_s: float) -> int:
    """Do what a verb with bounds does, in a child for each model, and return the exit code."""
    named = getattr(options, options.bounded)
    parts = named if isinstance(named, list) else [named or getattr(options, "onnx", "")]
    bounds = ChildLimits(options.max_memory_mib, options.timeout_s, options.grace_s)
    worst = 0
    for part in parts:
        part_of = argparse.Namespace(**vars(options))
        if isinstance(named, list):
            setattr(part_of, options.bounded, [part])
        code = _Supervision(str(part), bounds).run(partial(options.start, part_of, started_s))
        worst = max(worst, code)
        if code >= EXIT_SIGNALLED:
            break
    return worst


def remove_with_child(staged: Path) -> None:
    """Have a folder that is about to be made removed where this process, the child, is killed."""
    if _folder is not None:
        with suppress(OSError):  # a later run to the same place removes it
            Path(_folder, _STAGED).symlink_to(staged.absolute())


def _note_folder(folder: str) -> None:
    global _folder
    _folder = folder


class _Supervision:
    """One child, from its start to its end."""

    def __init__(self, subject: str, bounds: ChildLimits) -> None:
        self._subject = subject
        self._bounds = bounds
        self._child = 0
        self._signalled: int | None = None

    def run(self, work: Callable[[], int]) -> int:
        """Fork, wait, and return what the process is to end with."""
        folder = _temporary_folder()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would keep us from the status
        before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED))
        parent = os.getpid()
        try:
            self._child = os.fork()
            if self._child == 0:
                self._be_child(work, parent, before, folder)
            with suppress(OSError):  # it has done so itself, or is gone already
                os.setpgid(self._child, self._child)
            return self._wait()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if folder is not None:
                with suppress(OSError):  # it names none, as a rule
                    shutil.rmtree(Path(folder, _STAGED).readlink(), ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)

    def _be_child(
        self,
        work: Callable[[], int],
        parent: int,
        mask: set[int | signal.Signals],
        folder: str | None,
    ) -> NoReturn:
        code = EXIT_FAILED
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # it writes to the terminal all the same
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(code)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if folder is not None:
                os.environ["TMPDIR"] = tempfile.tempdir = folder
                _note_folder(folder)
            if isinstance(sys.stdout, io.TextIOWrapper):  # what it has said outlives it
                sys.stdout.reconfigure(line_buffering=True)
            limit_memory(self._bounds.memory_mib, MEMORY_OPTION)
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
        end_s = time.monotonic() + self._bounds.timeout_s if self._bounds.timeout_s else None
        while True:
            left_s = 3600.0 if end_s is None else max(end_s - time.monotonic(), 0.0)
            told = signal.sigtimedwait(_WATCHED, left_s)
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(status))
            if told is None and end_s is not None and time.monotonic() >= end_s:
                return self._out_of_time()
            if told is None or told.si_signo == signal.SIGCHLD:
                continue
            if told.si_signo == signal.SIGTSTP:
                paused_s = self._pause()
                end_s = None if end_s is None else end_s + paused_s
                continue
            # In a library the child hears none.
            grace_s = self._bounds.grace_s if self._signalled is None else _AGAIN_S
            end_s = min(time.monotonic() + grace_s, math.inf if end_s is None else end_s)
            self._signalled = told.si_signo
            os.killpg(self._child, told.si_signo)

    def _pause(self) -> float:
        """Stop with the child, as Ctrl-Z wants, until we are continued; return for how long."""
        start_s = time.monotonic()
        os.killpg(self._child, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(self._child, signal.SIGCONT)
        return time.monotonic() - start_s

    def _out_of_time(self) -> int:
        os.killpg(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        if self._signalled is not None:
            sys.stderr.write("edge-inference: interrupted\n")
            return EXIT_SIGNALLED + self._signalled
        print_error(
            f"{self._subject}: not done after {self._bounds.timeout_s} s; allow more with {TIMEOUT_OPTION}, "
            "or 0 for no end, where it is meant to take as long"
        )
        return EXIT_FAILED

    def _ended(self, code: int) -> int:
        """Return the exit code; tell of a child that could not say itself what ended it."""
        if code >= 0:
            return code
        if -code == self._signalled:
            sys.stderr.write("edge-inference: interrupted\n")
            return EXIT_SIGNALLED - code
        name = signal.Signals(-code).name
        why = (
            "as the kernel does where memory is short; end other programs, or allow less with "
            f"{MEMORY_OPTION} ({self._bounds.memory_mib} now)"
            if -code == signal.SIGKILL
            else "its files are damaged or meant to do this, a library has a fault, or the memory "
            f"that it may take does not suffice ({MEMORY_OPTION}, {self._bounds.memory_mib} now)"
        )
        print_error(f"{self._subject}: the process that ran it was ended by {name}: {why}")
        return EXIT_FAILED


def _temporary_folder() -> str | None:
    """Return a folder for what the child leaves when it is killed, None where none can be made."""
    try:
        return tempfile.mkdtemp(prefix="edge_inference_")
    except OSError:  # what needs one says so
        return None
