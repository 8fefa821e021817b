"""What a command's end comes to: an exit code, and one line on stderr where it went wrong."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from edge_inference.cli.usage import EXIT_FAILED, EXIT_SIGNALLED, EXIT_USAGE, UsageError, complain
from edge_inference.core.disk import describe_write_error
from edge_inference.core.runtime.memory_limit import allow_more, memory_limit_mib, more_memory
from edge_inference.errors import EdgeInferenceError

# Python has no kind of its own for it.
_NO_THREAD = "can't start new thread"


def code_of_verb(work: Callable[[], int], subject: str = "") -> int:
    """Do what a verb does; an error of ours, or an interruption, becomes a line and a code.

    ``subject`` is named where the memory does not suffice: who finds that may not know for what.
    """
    try:
        return work()
    except EdgeInferenceError as error:
        is_nameless = allow_more() in str(error) and subject not in str(error)
        complain(f"{subject}: {error}" if is_nameless else error)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt as end:
        sys.stderr.write("edge-inference: interrupted\n")
        return EXIT_SIGNALLED + (end.args[0] if end.args else signal.SIGINT)


def code_of_process(
    work: Callable[[], int], name: str, subject: str = "", closed_code: int = 0
) -> int:
    """Do what a process is for; what the machine refuses becomes a line and a code.

    ``name`` is the program's, ``subject`` what it was about. ``closed_code`` is what it comes to
    where nobody reads the output to its end: for some work that is no reason to call it done.
    """
    about = f"{subject}: " if subject else ""
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; both streams may lead there.
        redirect(sys.stdout.fileno())
        redirect(sys.stderr.fileno())
        code = closed_code
    except OSError as error:
        redirect(sys.stdout.fileno())
        # Without a name it is a stream that took no more, ours as a rule.
        nameless = f"{about}the output cannot be written: {describe_write_error(error)}"
        complain(error if error.filename else nameless, name)
        code = EXIT_FAILED
    except ImportError as error:
        # A library that gets no memory has many words for it.
        hint = "" if memory_limit_mib() is None else f"; {more_memory()}"
        complain(f"{about}a module cannot be imported: {error}{hint}", name)
        code = EXIT_FAILED
    except (MemoryError, RuntimeError, SystemError) as error:
        # Without memory even Python's import may fail without saying of what.
        is_limit = isinstance(error, SystemError) and memory_limit_mib() is not None
        if not is_limit and not isinstance(error, MemoryError) and _NO_THREAD not in str(error):
            raise
        complain(f"{about}{more_memory()}", name)
        code = EXIT_FAILED
    return code


def redirect(number: int) -> None:
    """Send what is written to a file descriptor nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
