"""A container in the process of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_inference.cli.signals import exit_while_busy
from edge_inference.errors import ConfigError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container


@contextmanager
def open_container(what: str, verbose: bool) -> Iterator[Container]:
    """Give a container for the command ``what``; ``verbose`` shows the nodes' own log.

    A model opens in a library, in the main thread: a signal ends the command all the same.
    Raises ConfigError where ROS 2 is missing.
    """
    try:
        from edge_inference.composition.process import hosted
    except ImportError as error:
        raise ConfigError(
            f"`{what}` needs ROS 2, and {error.name or error} cannot be imported: use "
            "`make demo` or `make set-up`, or source a ROS 2 installation with this package in it"
        ) from error
    # What goes wrong is told through the components' health, in one line each.
    arguments = ["--ros-args", "--log-level", "info" if verbose else "fatal"]
    with (
        exit_while_busy("edge-inference"),
        hosted("edge_inference", arguments, []) as container,
    ):
        yield container
