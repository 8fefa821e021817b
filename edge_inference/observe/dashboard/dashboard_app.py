"""The application: the page's files, the websocket, figures for Prometheus, and a sign of life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_inference.core.text_line import one_line
from edge_inference.errors import EdgeInferenceError
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.dashboard_feed import DashboardFeed
from edge_inference.observe.dashboard.guarded_protocol import CONNECTION, Application
from edge_inference.observe.dashboard.live_hub import LiveHub
from edge_inference.observe.dashboard.page_connection import PageConnection
from edge_inference.observe.dashboard.page_files import PageFile
from edge_inference.observe.dashboard.request_filter import RequestFilter

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response as AnyResponse
    from starlette.websockets import WebSocket

#: What changes all the time is kept by nobody; a file is asked for again by its tag.
_LIVE = {"cache-control": "no-store"}


def make_app(
    hub: LiveHub, feed: DashboardFeed, rules: AccessRules, files: Mapping[str, PageFile]
) -> Application:
    """Return the ASGI application of a dashboard."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route, WebSocketRoute

    async def show_health(request: Request) -> AnyResponse:
        return PlainTextResponse("ok\n", headers=_LIVE)

    async def show_metrics(request: Request) -> AnyResponse:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if rules.token and not (scheme.lower() == "bearer" and rules.is_right_token(token)):
            return PlainTextResponse(
                "expected the header Authorization: Bearer, with the token of the dashboard\n",
                401,
                {"www-authenticate": "Bearer", **_LIVE},
            )
        from edge_inference.observe.export.prometheus import content_type, format_metrics

        accept = request.headers.get("accept", "")
        try:
            content = format_metrics(feed.snapshot(), accept)
            return Response(content, 200, _LIVE, content_type(accept))
        except EdgeInferenceError as error:
            return PlainTextResponse(f"{one_line(str(error))}\n", 503, _LIVE)

    async def show_file(request: Request) -> AnyResponse:
        file = files.get(request.path_params["path"])
        if file is None:
            return PlainTextResponse("not found\n", 404, _LIVE)
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(None, 304, headers)
        return Response(file.content, 200, headers, file.kind)

    async def serve_page(socket: WebSocket) -> None:
        await PageConnection(socket, socket.scope[CONNECTION], hub, feed, rules).run()

    return RequestFilter(
        Starlette(
            routes=[
                Route("/healthz", show_health),
                Route("/metrics", show_metrics),
                WebSocketRoute("/ws", serve_page),
                Route("/{path:path}", show_file),
            ]
        ),
        rules,
    )
