"""Opens the socket of a server, or says in a sentence why it cannot be opened."""

from __future__ import annotations

import errno
import socket

from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError

#: Connections that the kernel accepts before the server does.
_BACKLOG = 64


def open_listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host and port; port 0 is any free one.

    Raises ConfigError where the port is taken or needs privileges, or the host is not of this
    machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"--host {one_line(host, 100)}: expected a name or an address of this machine ({error})"
        ) from error
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as error:  # a kernel without IPv6
        raise ConfigError(_explain(error, host, port)) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(_explain(error, host, port)) from error
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken by another program; end that, or choose another port "
            "with --port (0: any free one)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} of {host} is only for root; choose one from 1024 on with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: expected an address of this machine; `ip address` lists them"
    return f"port {port} of {host} cannot be opened: {error.strerror or error}"
