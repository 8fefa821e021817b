"""Serves the dashboard's page with a scripted robot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_inference.observe.dashboard import dashboard_server
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.listening_socket import open_listening_socket
from edge_inference.observe.dashboard.page_files import read_page_files
from scripted_robot import ScriptedRobot

STATIC = Path(dashboard_server.__file__).parent / "static"
_DEADLINE_S = 240


@contextmanager
def served(
    robot: ScriptedRobot, *, port: int = 0, token: str = "", may_change: bool = False
) -> Iterator[str]:
    """Serve the page and the robot; return the address."""
    listener = open_listening_socket("127.0.0.1", port)
    rules = AccessRules("127.0.0.1", token, may_change)
    messages: list[str] = []
    files = read_page_files(STATIC)
    port = listener.getsockname()[1]
    server = dashboard_server.DashboardServer(listener, robot, rules, files, messages.append)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.close()
    assert messages == []


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the server."""
    end = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
