"""Serves the dashboard's page with a scripted robot, and looks at it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chromium_page import ChromiumPage
from edge_inference.observe.dashboard import dashboard_server
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.listening_socket import open_listening_socket
from edge_inference.observe.dashboard.page_files import read_page_files
from scripted_robot import PARAMETERS, ScriptedRobot

STATIC = Path(dashboard_server.__file__).parent / "static"
STATUS = "document.getElementById('status')?.textContent"
_DEADLINE_S = 60


@contextmanager
def served(
    robot: ScriptedRobot, *, port: int = 0, token: str = "", may_change: bool = False
) -> Iterator[int]:
    """Serve the page and the robot; return the port."""
    listener = open_listening_socket("127.0.0.1", port)
    rules = AccessRules("127.0.0.1", token, may_change)
    messages: list[str] = []
    files = read_page_files(STATIC)
    port = listener.getsockname()[1]
    server = dashboard_server.DashboardServer(listener, robot, rules, files, messages.append)
    server.start()
    try:
        yield port
    finally:
        server.close()
    assert messages == []


def show(page: ChromiumPage, port: int, fragment: str = "") -> None:
    """Open the page and wait until it observes."""
    page.open(f"http://127.0.0.1:{port}/{fragment}")
    page.wait_for(f"{STATUS} === 'observing'")


def look_at(page: ChromiumPage, panel: str) -> None:
    """Bring a panel onto the screen; it is drawn only there."""
    page.run(f"document.getElementById('{panel}').scrollIntoView({{ behavior: 'instant' }})")


def text_of(panel: str) -> str:
    """Return the expression for what a panel shows."""
    return f"document.getElementById('{panel}').innerText"


def wait_for_text(page: ChromiumPage, panel: str, text: str) -> None:
    page.wait_for(f"{text_of(panel)}.includes({json.dumps(text)})")


def wait_for_change(page: ChromiumPage, expression: str) -> None:
    """Wait until an expression has another value than now."""
    page.wait_for(f"{expression} !== {json.dumps(page.run(expression))}")


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the server."""
    end = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def choose_node(page: ChromiumPage, node: str) -> None:
    """Choose a node in the panel of the parameters, and wait for its fields."""
    look_at(page, "parameters")
    option = json.dumps(f"#parameters option[value='{node}']")
    page.wait_for(f"document.querySelector({option}) !== null")
    page.run(
        "(() => { const choice = document.getElementById('parameters-node');"
        f" choice.value = {json.dumps(node)}; choice.dispatchEvent(new Event('change')); }})()"
    )
    count = "document.querySelectorAll('#parameters .field').length"
    page.wait_for(f"{count} === {len(PARAMETERS)}")


def field_of(name: str) -> str:
    """Return the selector of the field of a scripted parameter."""
    place = [row.name for row in PARAMETERS].index(name)
    return f"#parameters .field:nth-child({place + 1})"
