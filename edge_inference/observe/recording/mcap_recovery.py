"""Makes a whole MCAP file of one that was never finished, or is damaged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edge_inference.core.disk import create_file, describe_write_error
from edge_inference.errors import ConfigError
from edge_inference.observe.recording.mcap_library import start_writer
from edge_inference.observe.recording.mcap_scan import McapScan

if TYPE_CHECKING:
    from mcap.records import Channel, Message

_NANOSECONDS = 1e9


@dataclass
class RecordingContents:
    """What an MCAP file holds.

    ``begin_ns`` and ``end_ns`` are those of the first and the last message, None without messages.
    ``types`` is the schema of each topic. For the other figures see :class:`McapScan`.
    """

    file: Path
    size: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    types: dict[str, str] = field(default_factory=dict)
    begin_ns: int | None = None
    end_ns: int | None = None
    is_finished: bool = False
    cut_bytes: int = 0
    damaged: int = 0
    unknown: int = 0
    others: int = 0

    @property
    def duration_s(self) -> float | None:
        """Return the time from the first to the last message, in seconds."""
        if self.begin_ns is None or self.end_ns is None:
            return None
        return (self.end_ns - self.begin_ns) / _NANOSECONDS

    def add(self, topic: str, log_ns: int) -> None:
        """Count a message."""
        self.counts[topic] += 1
        self.begin_ns = log_ns if self.begin_ns is None else min(self.begin_ns, log_ns)
        self.end_ns = log_ns if self.end_ns is None else max(self.end_ns, log_ns)

    def finish(self, scan: McapScan) -> RecordingContents:
        """Take over the figures of a scan that is complete; returns this object."""
        self.size, self.cut_bytes = scan.size, scan.cut_bytes
        self.is_finished = scan.is_finished
        self.damaged, self.unknown, self.others = scan.damaged, scan.unknown, scan.others
        for channel in scan.channels.values():
            schema = scan.schemas.get(channel.schema_id)
            self.types[channel.topic] = "" if schema is None else schema.name
        return self

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "file": str(self.file),
            "bytes": self.size,
            "messages": self.counts.total(),
            "duration_s": self.duration_s,
            "begin_ns": self.begin_ns,
            "end_ns": self.end_ns,
            "finished": self.is_finished,
            "cut_bytes": self.cut_bytes,
            "damaged": self.damaged,
            "without_channel": self.unknown,
            "left_out": self.others,
            "topics": {
                topic: {"type": kind, "messages": self.counts[topic]}
                for topic, kind in sorted(self.types.items())
            },
        }


def read_contents(file: Path) -> RecordingContents:
    """Read a whole MCAP file; raises ConfigError if it cannot be read, or is no MCAP file."""
    scan = McapScan(file)
    contents = RecordingContents(file)
    for channel, message in scan.messages():
        contents.add(channel.topic, message.log_time)
    return contents.finish(scan)


def recover(source: Path, target: Path) -> RecordingContents:
    """Copy every whole message of an MCAP file into a new one with an index; returns what it held.

    Attachments and metadata are left out. Raises ConfigError if a file cannot be read or written,
    the new one exists or the mcap library is missing; what was written is then removed.
    """
    scan = McapScan(source)
    contents = RecordingContents(source)
    stream = create_file(target)
    try:
        with stream:
            copy = _Copy(scan, stream)
            for channel, message in scan.messages():
                contents.add(channel.topic, message.log_time)
                copy.add(channel, message)
            copy.finish()
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(
                f"{target}: cannot be written ({describe_write_error(error)})"
            ) from error
        raise
    return contents.finish(scan)


class _Copy:
    """Writes what a scan finds; ids of channels and schemas may become others."""

    def __init__(self, scan: McapScan, stream: IO[bytes]) -> None:
        self._scan = scan
        self._stream = stream
        self._channels: dict[int, int] = {}
        self._schemas: dict[int, int] = {}

    @cached_property
    def _writer(self) -> Any:
        # Made when it is first used, because the scan knows the profile only then.
        return start_writer(self._stream, self._scan.profile)

    def add(self, channel: Channel, message: Message) -> None:
        self._writer.add_message(
            self._channel(channel),
            message.log_time,
            message.data,
            message.publish_time,
            message.sequence,
        )

    def finish(self) -> None:
        for channel in self._scan.channels.values():
            self._channel(channel)
        self._writer.finish()

    def _channel(self, channel: Channel) -> int:
        if channel.id not in self._channels:
            self._channels[channel.id] = self._writer.register_channel(
                channel.topic,
                channel.message_encoding,
                self._schema(channel.schema_id),
                channel.metadata,
            )
        return self._channels[channel.id]

    def _schema(self, schema_id: int) -> int:
        schema = self._scan.schemas.get(schema_id)
        if schema is None:
            return 0
        if schema_id not in self._schemas:
            self._schemas[schema_id] = self._writer.register_schema(
                schema.name, schema.encoding, schema.data
            )
        return self._schemas[schema_id]
