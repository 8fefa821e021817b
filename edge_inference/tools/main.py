"""Entry points of the installed executables."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence


def main(entry_point: str, arguments: Sequence[str]) -> int:
    """Run ``edge-inference``, ``component_container``, or a node by the name of its executable."""
    if entry_point == "edge-inference":
        from edge_inference.tools.command_line import run

        return run(arguments)
    from edge_inference.composition.process import run_component, run_container

    if entry_point == "component_container":
        return run_container(arguments)
    class_name = "".join(word.capitalize() for word in entry_point.split("_"))
    return run_component(f"edge_inference::{class_name}", arguments)


def console() -> int:
    """Run ``edge-inference`` on the process's own arguments."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A picture's name need not fit the terminal's encoding.
            stream.reconfigure(errors="backslashreplace")
    return main("edge-inference", sys.argv[1:])
