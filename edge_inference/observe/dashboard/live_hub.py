"""What all pages get alike is made once, however many there are."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread
from typing import TypeVar

from edge_inference.errors import InputError
from edge_inference.observe.dashboard.dashboard_feed import DashboardFeed
from edge_inference.observe.dashboard.newest_item import NewestItem
from edge_inference.observe.monitor.json_text import json_text

MAX_PAGES = 16
SNAPSHOT_PERIOD_S = 0.5

#: A larger image would fill the send buffer of a page at once.
_MAX_IMAGE_BYTES = 2 * 1024 * 1024
#: Threads that wait for answers of nodes.
_MAX_WAITING = 4

Result = TypeVar("Result")


class LiveHub:
    """The newest snapshot and image for the pages; used in the thread of one event loop.

    Images are observed only while a page shows them, and snapshots made only while there is one.
    """

    def __init__(self, feed: DashboardFeed) -> None:
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._pages = 0
        self._viewers = 0
        self._stop_images: Callable[[], None] | None = None
        self._waiting = asyncio.Semaphore(_MAX_WAITING)
        self.snapshots: NewestItem[str] = NewestItem()
        #: An InputError stands for an image that is too large.
        self.images: NewestItem[bytes | InputError] = NewestItem()

    @property
    def is_full(self) -> bool:
        """Tell whether there are as many pages as are served."""
        return self._pages >= MAX_PAGES

    async def run(self) -> None:
        """Make the snapshots until cancelled."""
        while True:
            if self._pages:
                self._put_snapshot()
            await asyncio.sleep(SNAPSHOT_PERIOD_S)

    @contextmanager
    def page(self) -> Iterator[None]:
        """Count a page, which gets a snapshot of this moment first."""
        self._pages += 1
        try:
            self._put_snapshot()
            yield
        finally:
            self._pages -= 1

    @contextmanager
    def image_viewer(self) -> Iterator[None]:
        """Observe the images while a page shows them."""
        self._viewers += 1
        try:
            if self._stop_images is None:
                self.images = NewestItem()  # without the last image of an earlier viewer
                self._stop_images = self._feed.watch_image(self._note_image)
            yield
        finally:
            self._viewers -= 1
            if not self._viewers and self._stop_images is not None:
                stop, self._stop_images = self._stop_images, None
                stop()

    async def call(self, work: Callable[[], Result]) -> Result:
        """Run what waits for a node in a thread, and return its result.

        The thread is no reason for the process to wait at its end.
        """
        future: asyncio.Future[Result] = self._loop.create_future()

        def deliver(result: Result | None, error: Exception | None) -> None:
            self._waiting.release()
            if future.done():  # the page has gone meanwhile
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            try:
                outcome = partial(deliver, work(), None)
            except Exception as error:
                outcome = partial(deliver, None, error)
            with suppress(RuntimeError):  # the server has ended meanwhile
                self._loop.call_soon_threadsafe(outcome)

        await self._waiting.acquire()
        Thread(target=run, name="dashboard-call", daemon=True).start()
        return await future

    def _put_snapshot(self) -> None:
        newest = self._feed.history.newest()
        point = None if newest is None else {"at_s": newest[0], "values": newest[1]}
        message = {"type": "snapshot", "data": self._feed.snapshot(), "point": point}
        self.snapshots.put(json_text(message))

    def _note_image(self, image: bytes, stamp_ns: int) -> None:
        """Take an image, in any thread."""
        message: bytes | InputError = struct.pack(">Q", max(0, stamp_ns)) + image
        if len(image) > _MAX_IMAGE_BYTES:
            message = InputError(
                f"an annotated image has {len(image) / 2**20:.1f} MiB: expected at most "
                f"{_MAX_IMAGE_BYTES >> 20} MiB; let the camera send smaller images"
            )
        with suppress(RuntimeError):  # the server has ended meanwhile
            self._loop.call_soon_threadsafe(self.images.put, message)
