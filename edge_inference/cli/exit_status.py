"""How a command ends: its exit code, and one line on stderr where it failed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from edge_inference.core.disk import describe_write_error
from edge_inference.core.runtime.memory_limit import (
    memory_hint,
    memory_limit_mib,
    raise_limit_hint,
)
from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError, EdgeInferenceError

EXIT_FAILED, EXIT_USAGE = 1, 2
#: Exit code of a process that a signal ended, without the signal's number.
EXIT_SIGNALED = 128

# Python raises a RuntimeError with this text; it has no class of its own.
_NO_THREAD = "can't start new thread"


class UsageError(ConfigError):
    """Options that exclude each other, or that have no effect."""


def print_error(text: object, name: str = "edge-inference") -> None:
    """Write an error on stderr, in one line: names of files and tensors may contain line breaks."""
    sys.stderr.write(f"{name}: {one_line(str(text))}\n")
    sys.stderr.flush()


def run_command(work: Callable[[], int], subject: str = "") -> int:
    """Run a command and return its exit code; print an EdgeInferenceError or an interruption.

    ``subject`` is the model or file at work. It is named where the memory limit was too low,
    because the function that finds this does not know it.
    """
    try:
        return work()
    except EdgeInferenceError as error:
        is_nameless = raise_limit_hint() in str(error) and subject not in str(error)
        print_error(f"{subject}: {error}" if is_nameless else error)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt as end:
        sys.stderr.write("edge-inference: interrupted\n")
        return EXIT_SIGNALED + (end.args[0] if end.args else signal.SIGINT)


def run_process(work: Callable[[], int], name: str, subject: str = "", closed_code: int = 0) -> int:
    """Run the work of a process and return its exit code; print what the system refused.

    ``name`` is the program, ``subject`` the model or file at work. ``closed_code`` is the exit
    code where the reader of the output closes it early: some work is then not complete.
    """
    about = f"{subject}: " if subject else ""
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed its end; both streams may lead to it.
        redirect_to_null(sys.stdout.fileno())
        redirect_to_null(sys.stderr.fileno())
        code = closed_code
    except OSError as error:
        redirect_to_null(sys.stdout.fileno())
        # An error without a file name comes from a stream, usually our own output.
        nameless = f"{about}the output cannot be written: {describe_write_error(error)}"
        print_error(error if error.filename else nameless, name)
        code = EXIT_FAILED
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            hint = "; its file is missing: install the package again"
        else:  # libraries report a lack of memory in many different texts
            hint = "" if memory_limit_mib() is None else f"; {memory_hint()}"
        print_error(f"{about}a module cannot be imported: {error}{hint}", name)
        code = EXIT_FAILED
    except (MemoryError, RuntimeError, SystemError) as error:
        # Without memory, Python's import can fail with an error that names no cause.
        is_limit = isinstance(error, SystemError) and memory_limit_mib() is not None
        if not is_limit and not isinstance(error, MemoryError) and _NO_THREAD not in str(error):
            raise
        print_error(f"{about}{memory_hint()}", name)
        code = EXIT_FAILED
    return code


def redirect_to_null(number: int) -> None:
    """Point a file descriptor at /dev/null."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
