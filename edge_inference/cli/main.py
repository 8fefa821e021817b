"""Entry points of the installed executables."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence

from edge_inference.cli.exit_status import EXIT_FAILED, print_error, redirect_to_null, run_process
from edge_inference.cli.library_memory import library_memory_problem
from edge_inference.cli.signals import exit_on_signal
from edge_inference.core.runtime.child_process import drop_working_folder


def main(entry_point: str, arguments: Sequence[str], *, owns_process: bool = False) -> int:
    """Run ``edge-inference``, ``component_container``, or a node by the name of its executable.

    ``owns_process`` states that this process runs nothing else. A signal ends the process, except
    while the entry point handles signals itself.
    """
    drop_working_folder()
    with exit_on_signal(entry_point):
        return _run(entry_point, arguments, owns_process)


def _run(entry_point: str, arguments: Sequence[str], owns_process: bool) -> int:
    if entry_point == "edge-inference":
        from edge_inference.cli.command_line import run

        return run(arguments, owns_process=owns_process)
    problem = library_memory_problem() if owns_process else None
    if problem is not None:
        print_error(problem, entry_point)
        return EXIT_FAILED
    from edge_inference.composition.process import run_component, run_container

    if entry_point == "component_container":
        return run_container(arguments)
    class_name = "".join(word.capitalize() for word in entry_point.split("_"))
    return run_component(f"edge_inference::{class_name}", arguments)


def console() -> int:
    """Run ``edge-inference`` with the arguments and streams of this process."""
    return executable("edge-inference")


def executable(entry_point: str) -> int:
    """Run ``main`` with the arguments and streams of this process, until the process ends."""
    with exit_on_signal(entry_point):
        return _on_own_streams(entry_point)


def _on_own_streams(entry_point: str) -> int:
    _prepare_streams()
    code = run_process(lambda: main(entry_point, sys.argv[1:], owns_process=True), entry_point)
    # From here on Ctrl-C would only print a traceback of Python's shutdown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _prepare_streams() -> None:
    # Where the shell closed a stream, Python has none, and the next open file would get its number.
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            redirect_to_null(number)
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may contain characters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
