"""Records the objects of topics into an MCAP file, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from edge_inference.core.disk import create_file, describe_write_error
from edge_inference.core.runtime.capture_stamps import stamp_fault
from edge_inference.core.runtime.worker import Worker, format_error
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.observe.recording.mcap_library import check_mcap, start_writer
from edge_inference.observe.recording.ros_schemas import (
    MESSAGE_ENCODING,
    SCHEMA_ENCODING,
    RosSchema,
)

#: By default so many objects of a topic wait to be written; further ones are dropped.
MAX_WAITING = 2000
_PROFILE = "ros2"
_MAX_SEQUENCE = 0xFFFFFFFF
#: How often what waits is written. A thread that waits for each object would compete with the next
#: stage for the interpreter whenever one is published.
_PERIOD_S = 0.05
#: So much is lost at most if the process is killed.
_FLUSH_PERIOD_S = 1.0


@dataclass(frozen=True)
class RecordingSummary:
    """The figures of a recording; ``problem`` says why it ended early, empty if it did not.

    ``dropped`` objects came faster than they could be written, ``failed`` ones have no message.
    """

    file: str
    messages: int
    topics: int
    size: int
    dropped: int
    failed: int
    problem: str

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "file": self.file,
            "messages": self.messages,
            "topics": self.topics,
            "bytes": self.size,
            "dropped": self.dropped,
            "failed": self.failed,
            "problem": self.problem,
        }

    def __str__(self) -> str:
        text = f"recorded: {self.messages} messages of {self.topics} topics in {self.file}"
        text += f" ({self.size / 1e6:.1f} MB)"
        if self.dropped:
            text += f"; {self.dropped} dropped, because they came faster than they were written"
        if self.failed:
            text += f"; {self.failed} could not be converted"
        return f"{text}; it ended early: {self.problem}" if self.problem else text


class McapRecorder:
    """Writes an MCAP file; any thread may add objects, and none of them waits.

    ``on_problem`` gets a sentence when the file cannot be written any longer, and for the first
    object of a topic that has no message. Raises ConfigError where the file exists or cannot be
    made, or the mcap library is missing. Until ``close`` the file has no index: :func:`recover`
    makes one.
    """

    def __init__(self, file: Path, on_problem: Callable[[str], None]) -> None:
        self._file = file
        self._on_problem = on_problem
        self._topics: list[_Topic] = []
        self._is_closed = False
        self._problem = ""
        self._failed = 0
        self._size = 0
        self._flushed_s = time.monotonic()
        self._schema_ids: dict[str, int] = {}
        check_mcap()
        self._stream = create_file(file)
        try:
            self._writer = start_writer(self._stream, _PROFILE)
        except OSError as error:
            file.unlink(missing_ok=True)
            raise ConfigError(
                f"{file}: cannot be written ({describe_write_error(error)})"
            ) from error
        self._worker = Worker("recorder", self._work, self._fail)

    def add_topic(
        self,
        topic: str,
        find_schema: Callable[[], RosSchema],
        to_bytes: Callable[[Any], bytes],
        max_waiting: int = MAX_WAITING,
    ) -> Callable[[Any], None]:
        """Return the function that records an object of a topic.

        ``find_schema`` and ``to_bytes``, which serializes an object for ROS 2, are called in the
        recorder's thread; they may raise EdgeInferenceError.
        """
        added = _Topic(topic, find_schema, to_bytes, max_waiting)
        self._topics.append(added)
        return added.add

    def close(self) -> RecordingSummary:
        """Write what waits, and the index; what is added later is ignored. Returns the figures."""
        if not self._is_closed:
            self._is_closed = True
            for topic in self._topics:
                topic.is_open = False
            self._worker.end()
            self._write(self._write_waiting)
            self._write(self._writer.finish)
            self._write(self._stream.flush)
            self._size = self._stream.tell()
            with suppress(OSError):  # all is written, or the problem is known
                self._stream.close()
        written = [topic.written for topic in self._topics if topic.written]
        return RecordingSummary(
            file=str(self._file),
            messages=sum(written),
            topics=len(written),
            size=self._size,
            dropped=sum(topic.dropped for topic in self._topics),
            failed=self._failed,
            problem=self._problem,
        )

    def discard(self) -> None:
        """Close the file and remove it."""
        self.close()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _work(self, worker: Worker) -> None:
        while not worker.wait(_PERIOD_S):
            self._write(self._write_waiting)

    def _write(self, action: Callable[[], None]) -> None:
        """Write, unless writing has failed before."""
        if self._problem:
            return
        try:
            action()
        except OSError as error:
            self._problem = f"{self._file}: cannot be written ({describe_write_error(error)})"
            for topic in self._topics:
                topic.is_open = False
            self._on_problem(
                f"{self._problem}; what was written can be read after `edge-inference recording "
                "recover`"
            )

    def _write_waiting(self) -> None:
        waiting = [
            (log_ns, topic, item)
            for topic in tuple(self._topics)
            for log_ns, item in topic.take_waiting()
        ]
        for log_ns, topic, item in sorted(waiting, key=itemgetter(0)):
            try:
                self._write_one(log_ns, topic, item)
            except OSError:
                raise
            except Exception as error:  # of the objects of another package, anything
                self._fail_one(topic, error)
        now_s = time.monotonic()
        if now_s - self._flushed_s >= _FLUSH_PERIOD_S:
            self._flushed_s = now_s
            self._writer.flush()

    def _write_one(self, log_ns: int, topic: _Topic, item: Any) -> None:
        data = topic.to_bytes(item)
        if topic.channel_id is None:
            schema_id = self._add_schema(topic.find_schema())
            topic.channel_id = self._writer.register_channel(
                topic.name, MESSAGE_ENCODING, schema_id
            )
        stamp_ns = getattr(item, "stamp_ns", 0)
        publish_ns = log_ns if stamp_fault(stamp_ns, log_ns) else stamp_ns
        sequence = topic.written & _MAX_SEQUENCE
        self._writer.add_message(topic.channel_id, log_ns, data, publish_ns, sequence)
        topic.written += 1

    def _add_schema(self, schema: RosSchema) -> int:
        """Write the definition of a type, unless another topic has it too; returns its id."""
        if schema.name not in self._schema_ids:
            self._schema_ids[schema.name] = self._writer.register_schema(
                schema.name, SCHEMA_ENCODING, schema.text.encode()
            )
        return self._schema_ids[schema.name]

    def _fail_one(self, topic: _Topic, error: Exception) -> None:
        self._failed += 1
        if not topic.has_failed:
            topic.has_failed = True
            text = str(error) if isinstance(error, EdgeInferenceError) else format_error(error)
            self._on_problem(f"{topic.name}: an object cannot be recorded: {text}")

    def _fail(self, error: BaseException) -> None:
        self._on_problem(f"{self._file}: recording failed: {format_error(error)}")


class _Topic:
    """A topic, and what waits to be written of it."""

    def __init__(
        self,
        name: str,
        find_schema: Callable[[], RosSchema],
        to_bytes: Callable[[Any], bytes],
        max_waiting: int,
    ) -> None:
        self.name = name
        self.find_schema = find_schema
        self.to_bytes = to_bytes
        self.channel_id: int | None = None
        self.written = 0
        self.has_failed = False
        self.is_open = True
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[int, Any]] = deque()
        self._lock = threading.Lock()
        self.dropped = 0

    def add(self, item: Any) -> None:
        """Let an object wait; it runs in the thread of a stage."""
        if not self.is_open:
            return
        if len(self._waiting) < self._max_waiting:
            self._waiting.append((time.time_ns(), item))
            return
        with self._lock:
            self.dropped += 1

    def take_waiting(self) -> list[tuple[int, Any]]:
        """Return what waits, oldest first."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]
