"""The options of ``export``, and the types of their values."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge_inference.cli.exit_status import UsageError

_LOOPBACK = "127.0.0.1"
#: Where a collector of OpenTelemetry takes metrics.
_OTLP_PATH = "/v1/metrics"


@dataclass(frozen=True)
class ExportOptions:
    """The options; ``seconds`` None is until the user ends it.

    ``prometheus`` is the address to listen on, ``json`` a file, or ``-``, ``otlp`` a URL; None
    where that is not wanted.
    """

    namespace: str = ""
    prometheus: tuple[str, int] | None = None
    json: str | None = None
    otlp: str | None = None
    period_s: float = 1.0
    seconds: float | None = None
    verbose: bool = False

    def check(self) -> None:
        """Raise UsageError where nothing would be exported."""
        if self.prometheus is None and self.json is None and self.otlp is None:
            raise UsageError(
                "nothing says where to: expected at least one of --prometheus 9464, --json FILE "
                "and --otlp http://127.0.0.1:4318"
            )


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and port of ``[HOST:]PORT``; without a host it is this machine only."""
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):  # an IPv6 address
        host = host[1:-1]
    is_port = port.isascii() and port.isdecimal() and int(port) < 65536
    if not is_port or (separator and not host):
        raise argparse.ArgumentTypeError(
            f"expected a port such as 9464, or host and port such as 0.0.0.0:9464, got {text!r}"
        )
    return host or _LOOPBACK, int(port)


def otlp_url(text: str) -> str:
    """Return the URL of a collector, with the usual path where it has none."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_url = False
    if not is_url:
        raise argparse.ArgumentTypeError(
            f"expected a URL such as http://127.0.0.1:4318, got {text!r}"
        )
    return text if parts.path.strip("/") else text.rstrip("/") + _OTLP_PATH
