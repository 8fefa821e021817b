"""``edge-inference dashboard``: serves the page until the user ends it."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import edge_inference.observe.dashboard
from edge_inference.cli.dashboard.access_token import make_token, read_token
from edge_inference.cli.exit_status import print_error
from edge_inference.cli.sessions.monitor_session import open_monitor
from edge_inference.cli.signals import catch_signals
from edge_inference.observe.dashboard.access_rules import AccessRules, is_loopback
from edge_inference.observe.dashboard.dashboard_server import DashboardServer, check_packages
from edge_inference.observe.dashboard.listening_socket import open_listening_socket
from edge_inference.observe.dashboard.page_files import read_page_files

_POLL_PERIOD_S = 0.5
# An address that is never assigned; nothing is sent there.
_FAR_ADDRESS = ("192.0.2.1", 9)


@dataclass(frozen=True)
class DashboardOptions:
    """The options of ``dashboard``; an empty namespace is the only pipeline there is."""

    namespace: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    token_file: str = ""
    allow_changes: bool = False
    verbose: bool = False


def run_dashboard(options: DashboardOptions) -> int:
    """Serve the dashboard until SIGINT or SIGTERM; return the exit code.

    Raises EdgeInferenceError where it cannot start.
    """
    rules = _make_rules(options)
    check_packages()
    files = read_page_files(Path(edge_inference.observe.dashboard.__path__[0], "static"))
    with catch_signals() as interrupted, ExitStack() as stack:
        listener = stack.enter_context(open_listening_socket(options.host, options.port))
        session = stack.enter_context(
            open_monitor(
                "edge-inference dashboard", options.namespace, print_error, verbose=options.verbose
            )
        )
        server = DashboardServer(listener, session, rules, files, print_error)
        server.start()
        stack.callback(server.close)
        _announce(options, rules, listener.getsockname()[1])
        while server.is_alive and not interrupted.wait(_POLL_PERIOD_S):
            pass
        # A terminal and launch both send it; the second one must not cut the farewell short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


def _make_rules(options: DashboardOptions) -> AccessRules:
    """Return who may see and change what; only this machine needs no token."""
    token = ""
    if options.token_file:
        token = read_token(Path(options.token_file))
    elif not is_loopback(options.host):
        token = make_token()
    return AccessRules(options.host, token, options.allow_changes)


def _announce(options: DashboardOptions, rules: AccessRules, port: int) -> None:
    """Print the address, with a token only if it is new: a file's token stays in the file."""
    host = options.host
    if host in ("0.0.0.0", "::"):
        host = _own_address()
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    if rules.token and not options.token_file:
        address += f"#token={quote(rules.token, safe='')}"
    changes = "parameters can be changed" if rules.may_change else "read-only"
    sys.stdout.write(f"dashboard ({changes}): {address}\n")
    if options.token_file:
        sys.stdout.write(f"the page asks for the token in {options.token_file}\n")
    sys.stdout.flush()


def _own_address() -> str:
    """Return the address under which a network knows this machine; its name where it has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_FAR_ADDRESS)
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()
