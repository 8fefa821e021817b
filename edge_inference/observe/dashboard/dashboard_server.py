"""Runs the dashboard's server in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from edge_inference.core.package_import import explain_import
from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.connection_guard import (
    DEFAULT_LIMITS,
    ConnectionGuard,
    ConnectionLimits,
)
from edge_inference.observe.dashboard.dashboard_app import make_app
from edge_inference.observe.dashboard.dashboard_feed import DashboardFeed
from edge_inference.observe.dashboard.guarded_protocol import GuardedHttp, GuardedWebSocket
from edge_inference.observe.dashboard.live_hub import LiveHub
from edge_inference.observe.dashboard.page_files import PageFile

_PACKAGES = ("starlette", "uvicorn", "websockets")
#: Time for farewells to the pages before their connections are cut.
_FAREWELL_S = 0.3
_MAX_LOG_KINDS = 20


def check_packages() -> None:
    """Raise ConfigError where a package of the server is missing."""
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"the dashboard needs the packages {', '.join(_PACKAGES)} (extra dashboard): "
                f"{explain_import(name, name, error)}"
            ) from error


class DashboardServer:
    """Serves a feed on a listening socket, which it closes in the end.

    ``on_message`` is given what the server itself has to say, in any thread.
    """

    def __init__(
        self,
        listener: socket.socket,
        feed: DashboardFeed,
        rules: AccessRules,
        files: Mapping[str, PageFile],
        on_message: Callable[[str], None],
        limits: ConnectionLimits = DEFAULT_LIMITS,
    ) -> None:
        check_packages()
        self._listener = listener
        self._feed = feed
        self._rules = rules
        self._files = files
        self._log = _ServerLog(on_message)
        self._limits = limits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._is_ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Tell whether it serves."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._is_ready.wait()

    def close(self) -> None:
        """Say farewell to the pages and end; raises what ended the server before."""
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._listener.close()
            self._is_ready.set()

    async def _serve(self) -> None:
        import uvicorn

        guard = ConnectionGuard(self._limits)
        hub = LiveHub(self._feed)
        app = make_app(hub, self._feed, self._rules, self._files)
        server = uvicorn.Server(self._configure(app, guard))
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        helpers = [
            asyncio.create_task(hub.run()),
            asyncio.create_task(guard.watch()),
            asyncio.create_task(self._stopping.wait()),
        ]
        self._is_ready.set()
        with self._log:
            await asyncio.wait([serving, *helpers], return_when=asyncio.FIRST_COMPLETED)
            for task in helpers:
                task.cancel()
            server.should_exit = True
            await asyncio.wait([serving], timeout=_FAREWELL_S)
            guard.cut_all()
            results = await asyncio.gather(serving, *helpers, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _configure(self, app: Any, guard: ConnectionGuard) -> Any:
        """Return uvicorn's configuration, with its protocols behind the guard."""
        import uvicorn

        limits = self._limits
        config = uvicorn.Config(
            app,
            http="h11",
            ws="websockets-sansio",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=limits.message_bytes,
            ws_per_message_deflate=False,
            h11_max_incomplete_event_size=4 * limits.head_bytes,
            timeout_keep_alive=round(limits.idle_s),
            timeout_graceful_shutdown=round(limits.request_s),
        )
        config.load()
        http, websocket = config.http_protocol_class, config.ws_protocol_class
        config.http_protocol_class = lambda **words: GuardedHttp(http(**words), guard)
        config.ws_protocol_class = lambda **words: GuardedWebSocket(websocket(**words), guard)
        return config


class _ServerLog(logging.Handler):
    """Passes the errors of uvicorn on, each kind once: a client can cause many of one kind."""

    def __init__(self, on_message: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._on_message = on_message
        self._kinds: set[str] = set()
        self._logger = logging.getLogger("uvicorn")

    def __enter__(self) -> None:
        self._logger.addHandler(self)
        self._logger.propagate = False

    def __exit__(self, *exc_info: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a new kind of error on, with the exception that caused it."""
        text = record.getMessage().strip()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text = f"{text}: {type(error).__name__}: {error}"
        if text not in self._kinds and len(self._kinds) < _MAX_LOG_KINDS:
            self._kinds.add(text)
            self._on_message(one_line(f"server: {text}"))
