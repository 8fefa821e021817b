"""What the ROS 2 graph says to the doctor: simulated time, and pipelines that run already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_inference.cli.command_container import open_container
from edge_inference.cli.sessions.live_session import find_namespaces
from edge_inference.errors import ConfigError
from edge_inference.observe.doctor.finding import Finding, FindingLevel

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

#: Usual time after the start of a process until it has discovered the nodes of others.
_DISCOVERY_S = 1.5
_POLL_PERIOD_S = 0.05


def examine_graph() -> Iterator[Finding]:
    """Yield the findings of the graph; nothing where ROS 2 is missing, which is another finding."""
    try:
        with open_container("doctor", verbose=False) as container:
            has_clock, namespaces = _discover(container)
    except ConfigError:
        return
    if has_clock:
        yield Finding(
            "clocks",
            "ros time",
            FindingLevel.NOTE,
            "somebody publishes /clock",
            "nodes with use_sim_time follow it, and the ages of frames are in simulated time",
            "end the simulator or `ros2 bag play --clock` before real measurements",
            "ros2 topic info -v /clock",
        )
    else:
        yield Finding("clocks", "ros time", FindingLevel.OK, "system time: nobody publishes /clock")
    if namespaces:
        yield Finding(
            "ros",
            "pipelines",
            FindingLevel.NOTE,
            f"running: {', '.join(namespaces)}",
            "a benchmark on this machine shares it with them",
            "end them before a measurement, or observe them with diagnose",
        )
    else:
        yield Finding("ros", "pipelines", FindingLevel.OK, "none runs")


def _discover(container: Container) -> tuple[bool, list[str]]:
    """Look at the graph until everything was found, or the time for discovery is over."""
    deadline_s = time.monotonic() + _DISCOVERY_S
    has_clock, namespaces = False, list[str]()
    while time.monotonic() < deadline_s and not (has_clock and namespaces):
        has_clock = has_clock or bool(container.node.count_publishers("/clock"))
        namespaces = find_namespaces(container)
        time.sleep(_POLL_PERIOD_S)  # discovery has no event; the deadline bounds it
    return has_clock, namespaces
