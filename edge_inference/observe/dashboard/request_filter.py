"""Refuses requests before the application sees them, and adds the headers of every response."""

from __future__ import annotations

from collections.abc import Iterable

from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.guarded_protocol import Application, Receive, Scope, Send

_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class RequestFilter:
    """An ASGI application in front of another one."""

    def __init__(self, app: Application, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        refusal = self._refuse(scope)
        if refusal is not None:
            if scope["type"] == "http":
                await _respond(send, *refusal)
            else:  # the answer to its handshake is 403
                await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._app(scope, receive, _with_headers(send))
        else:
            await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and sentence of a refusal; None where the request may pass."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._rules.is_known_host(hosts[0]):
            return 421, (
                "expected a Host header with a name or address of this machine; "
                "open the dashboard under the address that it printed"
            )
        if scope["type"] == "websocket":
            origins = _values(scope, b"origin")
            origin = origins[0] if len(origins) == 1 else None
            if not self._rules.is_own_origin(origin, hosts[0]):
                return 403, "expected the Origin of the dashboard's own page"
        elif _values(scope, b"transfer-encoding") or any(
            length.strip() != "0" for length in _values(scope, b"content-length")
        ):
            return 413, "expected a request without a body"
        return None


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Scope) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return send_with_headers


async def _respond(send: Send, status: int, text: str) -> None:
    """Answer and close; a body that follows is never read."""
    body = f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
