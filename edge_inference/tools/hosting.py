"""A container in the process of a command, and the namespace of what it runs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from edge_inference.composition.pipeline import OWN, ComponentDescription, Pipeline
from edge_inference.errors import ConfigError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

#: So long after its start a process may not know all nodes yet.
_DISCOVERY_S = 1.0
_LOOK_S = 0.02


class Placed(NamedTuple):
    """A pipeline's components in a namespace."""

    namespace: str
    components: Sequence[ComponentDescription]


@contextmanager
def hosted_here(what: str, verbose: bool) -> Iterator[Container]:
    """Give a container for the command ``what``; ``verbose`` shows the nodes' own log.

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
    with hosted("edge_inference", arguments, []) as container:
        yield container


def place(
    container: Container,
    pipeline: Pipeline,
    arguments: dict[str, str],
    main_node: str,
    interrupted: threading.Event,
    tell: Callable[[str], None],
) -> Placed:
    """Choose the namespace of a pipeline.

    It is /ai where no node of another process is called as the pipeline's ``main_node``, else
    the first of /ai_2, /ai_3 … that is free, which ``tell`` hears. For a container that has just
    been made: other processes are waited for.
    """
    from edge_inference.composition.container import find_plugin

    deadline_s = time.monotonic() + _DISCOVERY_S
    components = pipeline.components(arguments)
    for component in components:
        find_plugin(component.plugin)  # takes time, in which the others become known

    def is_taken(own: str) -> bool:
        return (main_node, f"/{own}") in container.node.get_node_names_and_namespaces()

    while not is_taken(OWN) and time.monotonic() < deadline_s and not interrupted.is_set():
        interrupted.wait(_LOOK_S)
    if not is_taken(OWN):
        return Placed(f"/{OWN}", components)
    numbered = (f"{OWN}_{number}" for number in itertools.count(2))
    own = next(name for name in numbered if not is_taken(name))
    tell(
        f"another pipeline runs in the namespace /{OWN}: this one runs in /{own}, with its topics "
        f"(/{own}/…)"
    )
    return Placed(f"/{own}", pipeline.components(arguments, own=own))
