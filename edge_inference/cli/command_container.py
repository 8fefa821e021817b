"""A component container in the process of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_inference.cli.signals import exit_while_busy
from edge_inference.errors import ConfigError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container


@contextmanager
def open_container(command: str, verbose: bool) -> Iterator[Container]:
    """Yield a container for a command; ``verbose`` shows the log of the nodes.

    A library opens the model in the main thread; a signal ends the command even during that.
    Raises ConfigError where ROS 2 is missing.
    """
    try:
        from edge_inference.composition import process
    except ImportError as error:
        raise ConfigError(
            f"`{command}` needs ROS 2, and {error.name or error} cannot be imported: use "
            "`make demo` or `make set-up`, or source a ROS 2 installation that has this package"
        ) from error
    # The command reports errors itself, from the health of the components, one line each.
    arguments = ["--ros-args", "--log-level", "info" if verbose else "fatal"]
    with (
        exit_while_busy("edge-inference"),
        process.open_container("edge_inference", arguments, []) as container,
    ):
        yield container
