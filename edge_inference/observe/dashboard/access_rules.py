"""Who may talk to the dashboard: its own page, under a name of this machine, with the token."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

_LOCAL_NAME = "localhost"


@dataclass(frozen=True)
class AccessRules:
    """The rules of one server, which listens on ``host``; ``token`` is empty where none is needed.

    ``may_change`` allows pages to change parameters.
    """

    host: str
    token: str = ""
    may_change: bool = False

    def is_known_host(self, header: str) -> bool:
        """Tell whether the Host header of a request names this machine.

        A page of a stranger can let its own name point to an address of this machine, but not
        change the name that the browser sends. The port is not compared: it differs behind a
        forwarded one.
        """
        name = _host_name(header)
        if name is None:
            return False
        if _is_address(name):
            return not is_loopback(self.host) or is_loopback(name)
        names = {_LOCAL_NAME}
        if not is_loopback(self.host):
            own = socket.gethostname().lower()
            names |= {self.host.lower(), own, f"{own}.local"}
        return name in names

    @staticmethod
    def is_own_origin(origin: str | None, host: str) -> bool:
        """Tell whether a page comes from this server, by the headers Origin and Host."""
        if origin is None:
            return False
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")

    def is_right_token(self, token: str) -> bool:
        """Tell whether a client has the token, in a time that does not depend on what differs."""
        given = token.encode("utf-8", "surrogatepass")
        return not self.token or hmac.compare_digest(given, self.token.encode())


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host name or address."""
    if host.lower() == _LOCAL_NAME:
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _host_name(header: str) -> str | None:
    """Return the lower-case name or address of a Host header; None where it is invalid."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018 - raises where it is no port
    except ValueError:
        return None
    if not parts.hostname or parts.netloc != header or "@" in header or parts.path:
        return None
    return parts.hostname.rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
