"""One page's websocket: hello and welcome, then snapshots, images and answers until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import edge_inference
from edge_inference.core.text_line import one_line
from edge_inference.errors import EdgeInferenceError, InputError
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.connection_guard import GuardedConnection, Phase
from edge_inference.observe.dashboard.dashboard_feed import DashboardFeed
from edge_inference.observe.dashboard.history_text import history_text
from edge_inference.observe.dashboard.live_hub import MAX_PAGES, LiveHub
from edge_inference.observe.dashboard.page_message import (
    HelloMessage,
    HistoryRequest,
    ImageRequest,
    PageMessage,
    ParametersRequest,
    SetParameterRequest,
    SettingError,
    read_page_message,
)
from edge_inference.observe.monitor.json_text import json_text

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

#: Codes of closing; the page asks for another token after the first one only.
WRONG_TOKEN, NO_HELLO, TOO_MANY_PAGES = 1008, 1002, 1013

_IMAGE_PERIOD_S = 0.2
# A page that asks faster waits: nothing of it is queued here.
_REQUEST_PERIOD_S = 0.05
_HISTORY_PERIOD_S = 1.0
# A close frame has room for 123 bytes.
_MAX_REASON = 120


class _PageGoneError(Exception):
    """The page has closed its websocket, or the server has."""


class PageConnection:
    """Serves one page. ``connection`` is the same websocket for the guard."""

    def __init__(
        self,
        socket: WebSocket,
        connection: GuardedConnection,
        hub: LiveHub,
        feed: DashboardFeed,
        rules: AccessRules,
    ) -> None:
        self._socket = socket
        self._connection = connection
        self._hub = hub
        self._feed = feed
        self._rules = rules
        self._images: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the page until it goes."""
        try:
            await self._deliver(self._socket.accept())
            refusal = await self._greet()
            if refusal is not None:
                code, reason = refusal
                await self._deliver(self._socket.close(code, one_line(reason, _MAX_REASON)))
                return
            with self._hub.page():
                await self._send(
                    {
                        "type": "welcome",
                        "read_only": not self._rules.may_change,
                        "version": edge_inference.__version__,
                    }
                )
                await _until_one_ends(self._push_snapshots(), self._answer())
        except _PageGoneError:
            pass
        finally:
            await self._switch_images(False)

    async def _greet(self) -> tuple[int, str] | None:
        """Wait for the hello; return the code and reason of a refusal, None for a welcome page."""
        limit_s = self._connection.limits.request_s
        try:
            message = await asyncio.wait_for(self._receive(), limit_s)
        except asyncio.TimeoutError:
            return NO_HELLO, f"expected the message hello within {limit_s:g} s"
        except InputError as error:
            return NO_HELLO, str(error)
        if not isinstance(message, HelloMessage):
            return NO_HELLO, "expected hello as the first message"
        if not self._rules.is_right_token(message.token):
            return WRONG_TOKEN, "the token is missing or wrong"
        if self._hub.is_full:
            return TOO_MANY_PAGES, f"{MAX_PAGES} pages are open already; close one of them"
        self._connection.enter(Phase.STREAMING)
        return None

    async def _push_snapshots(self) -> None:
        number = 0
        while True:
            number, text = await self._hub.snapshots.after(number)
            await self._send_text(text)

    async def _push_images(self) -> None:
        try:
            with self._hub.image_viewer():
                number = 0
                while True:
                    number, image = await self._hub.images.after(number)
                    if isinstance(image, InputError):
                        raise image
                    await self._deliver(self._socket.send_bytes(image))
                    await asyncio.sleep(_IMAGE_PERIOD_S)
        except EdgeInferenceError as error:
            await self._send_error(error)
        except _PageGoneError:
            pass  # the task that receives notices it as well

    async def _answer(self) -> None:
        while True:
            try:
                await self._answer_one(await self._receive())
            except SettingError as error:
                await self._send_set_result(error.id, one_line(str(error)))
            except EdgeInferenceError as error:
                await self._send_error(error)
            await asyncio.sleep(_REQUEST_PERIOD_S)

    async def _answer_one(self, message: PageMessage) -> None:
        if isinstance(message, HistoryRequest):
            text = partial(history_text, self._feed.history, message.since_s)
            await self._send_text(await self._hub.call(text))
            await asyncio.sleep(_HISTORY_PERIOD_S)
        elif isinstance(message, ImageRequest):
            await self._switch_images(message.on)
        elif isinstance(message, ParametersRequest):
            await self._send(await self._read_parameters(message.node))
        elif isinstance(message, SetParameterRequest):
            await self._send_set_result(message.id, await self._set_parameter(message))
        else:
            raise InputError("expected hello only as the first message")

    async def _read_parameters(self, node: str) -> dict[str, object]:
        answer: dict[str, object] = {"type": "parameters", "node": node, "parameters": []}
        try:
            rows = await self._hub.call(partial(self._feed.parameters.read, node))
        except EdgeInferenceError as error:
            return {**answer, "reason": one_line(str(error))}
        return {**answer, "parameters": rows, "reason": ""}

    async def _set_parameter(self, message: SetParameterRequest) -> str:
        """Set a parameter and return why it is not set; empty if it is."""
        if not self._rules.may_change:
            return "this dashboard is read-only; start it with --allow-changes to change parameters"
        change = partial(self._feed.parameters.change, message.node, message.name, message.value)
        try:
            return one_line(await self._hub.call(change))
        except EdgeInferenceError as error:
            return one_line(str(error))

    async def _switch_images(self, on: bool) -> None:
        if on and (self._images is None or self._images.done()):
            self._images = asyncio.create_task(self._push_images())
        elif not on and self._images is not None:
            images, self._images = self._images, None
            await _cancel(images)
            if not images.cancelled():
                images.result()

    async def _receive(self) -> PageMessage:
        """Return the next message. Raises InputError for an invalid one."""
        received: dict[str, Any] = await self._socket.receive()
        if received["type"] != "websocket.receive":
            raise _PageGoneError
        text = received.get("text")
        if text is None:
            raise InputError("expected a message of text, got bytes")
        return read_page_message(text)

    async def _send(self, message: dict[str, object]) -> None:
        await self._send_text(json_text(message))

    async def _send_text(self, text: str) -> None:
        await self._deliver(self._socket.send_text(text))

    async def _send_set_result(self, id: int, reason: str) -> None:
        await self._send({"type": "set_result", "id": id, "ok": not reason, "reason": reason})

    async def _send_error(self, error: EdgeInferenceError) -> None:
        await self._send({"type": "error", "message": one_line(str(error))})

    @staticmethod
    async def _deliver(sending: Coroutine[Any, Any, None]) -> None:
        """Send; raises _PageGoneError where the websocket is closed or closing."""
        from starlette.websockets import WebSocketDisconnect

        try:
            await sending
        except (WebSocketDisconnect, RuntimeError) as error:
            # uvicorn raises a RuntimeError after it has sent a close frame itself.
            raise _PageGoneError from error


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, then cancel the others; raises what one of them raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(*tasks)
    errors = [task.exception() for task in tasks if not task.cancelled()]
    for error in filter(None, errors):
        raise error


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
