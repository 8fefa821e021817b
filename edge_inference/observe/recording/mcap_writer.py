"""Writes an MCAP file: chunks of messages, and an index at its end.

Every chunk that was flushed can be recovered if the process ends before the index is written.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from edge_inference.observe.recording.mcap_records import (
    MAGIC,
    RECORD_HEAD,
    McapChannel,
    McapChunk,
    McapMessage,
    McapSchema,
    RecordKind,
    pack_record,
    pack_text,
)

#: A chunk ends at this size, before compression. A reader decompresses a whole chunk for a message.
CHUNK_BYTES = 1 << 20
#: Says who has written a file.
_LIBRARY = "edge_inference"
_FOOTER = struct.Struct("<QQI")


class McapWriter:
    """Writes an MCAP file; not for several threads at once.

    ``stream`` is an empty file, opened in binary. ``profile`` says which conventions the file
    follows. Chunks are compressed with lz4 where its package is
    installed. All methods raise OSError where the stream cannot be written; the file then ends at
    any byte, and only :func:`recover` can use it.
    """

    def __init__(self, stream: IO[bytes], profile: str) -> None:
        self._stream = stream
        self._lz4 = _find_lz4()
        #: Bytes written so far.
        self.size = 0
        #: Messages by channel, also those that are not flushed yet.
        self.counts: Counter[int] = Counter()
        self._schemas: list[McapSchema] = []
        self._channels: list[McapChannel] = []
        self._chunk = _OpenChunk()
        self._chunk_indexes: list[bytes] = []
        self._times: list[tuple[int, int]] = []
        self._write(MAGIC)
        self._write(pack_record(RecordKind.HEADER, pack_text(profile) + pack_text(_LIBRARY)))
        stream.flush()

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Write the definition of a message type; returns its id."""
        schema = McapSchema(len(self._schemas) + 1, name, encoding, data)
        self._schemas.append(schema)
        # Outside of the chunks, so that a damaged chunk takes no definition with it.
        self._write(schema.pack())
        return schema.id

    def add_channel(
        self, topic: str, encoding: str, schema_id: int, metadata: Mapping[str, str] | None = None
    ) -> int:
        """Write that a topic has messages of a schema, or of none (0); returns its id."""
        channel = McapChannel(len(self._channels) + 1, schema_id, topic, encoding, metadata or {})
        self._channels.append(channel)
        self._write(channel.pack())
        return channel.id

    def add_message(
        self,
        channel_id: int,
        log_ns: int,
        publish_ns: int,
        data: bytes,
        sequence: int | None = None,
    ) -> None:
        """Add a message to the chunk; by default it is numbered in its channel, from 0."""
        if sequence is None:
            sequence = self.counts[channel_id] & 0xFFFFFFFF
        self.counts[channel_id] += 1
        self._chunk.add(McapMessage(channel_id, sequence, log_ns, publish_ns, data))
        if self._chunk.size >= CHUNK_BYTES:
            self._end_chunk()

    def flush(self) -> None:
        """Write the messages so far as a chunk."""
        self._end_chunk()
        self._stream.flush()

    def finish(self) -> None:
        """Write the rest and the index; nothing may be added afterwards."""
        self._end_chunk()
        self._write(pack_record(RecordKind.DATA_END, struct.pack("<I", 0)))
        groups = {
            RecordKind.SCHEMA: b"".join(schema.pack() for schema in self._schemas),
            RecordKind.CHANNEL: b"".join(channel.pack() for channel in self._channels),
            RecordKind.STATISTICS: self._statistics(),
            RecordKind.CHUNK_INDEX: b"".join(self._chunk_indexes),
        }
        begin = at = self.size
        offsets = []
        for kind, records in groups.items():
            if records:
                place = struct.pack("<BQQ", kind, at, len(records))
                offsets.append(pack_record(RecordKind.SUMMARY_OFFSET, place))
            at += len(records)
        summary = b"".join((*groups.values(), *offsets))
        footer = RECORD_HEAD.pack(RecordKind.FOOTER, _FOOTER.size) + struct.pack("<QQ", begin, at)
        self._write(summary + footer + struct.pack("<I", zlib.crc32(summary + footer)) + MAGIC)
        self._stream.flush()

    def _end_chunk(self) -> None:
        chunk = self._chunk
        if not chunk.size:
            return
        self._chunk = _OpenChunk()
        records = b"".join(chunk.records)
        times = chunk.times()
        record = McapChunk(
            *times,
            len(records),
            zlib.crc32(records),
            "" if self._lz4 is None else "lz4",
            records if self._lz4 is None else self._lz4.compress(records),
        )
        packed = record.pack()
        begin = self.size
        self._write(packed)
        places = {}
        for channel_id, entries in chunk.index.items():
            places[channel_id] = self.size
            self._write(_pack_message_index(channel_id, entries))
        index_bytes = self.size - begin - len(packed)
        self._times.append(times)
        self._chunk_indexes.append(
            _pack_chunk_index(record, begin, len(packed), places, index_bytes)
        )

    def _statistics(self) -> bytes:
        counts = b"".join(struct.pack("<HQ", *entry) for entry in self.counts.items())
        content = struct.pack(
            "<QHIIIIQQI",
            self.counts.total(),
            len(self._schemas),
            len(self._channels),
            0,
            0,
            len(self._chunk_indexes),
            min((begin for begin, _ in self._times), default=0),
            max((end for _, end in self._times), default=0),
            len(counts),
        )
        return pack_record(RecordKind.STATISTICS, content + counts)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self.size += len(data)


class _Entry(NamedTuple):
    """Where a message is in its chunk."""

    log_ns: int
    offset: int


class _OpenChunk:
    """The messages of a chunk that is not written yet."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.index: dict[int, list[_Entry]] = defaultdict(list)
        self.size = 0

    def add(self, message: McapMessage) -> None:
        record = message.pack()
        self.records.append(record)
        self.index[message.channel_id].append(_Entry(message.log_ns, self.size))
        self.size += len(record)

    def times(self) -> tuple[int, int]:
        """Return those of the first and the last message; there is at least one."""
        times = [entry.log_ns for entries in self.index.values() for entry in entries]
        return min(times), max(times)


def _pack_message_index(channel_id: int, entries: list[_Entry]) -> bytes:
    numbers = [number for entry in entries for number in entry]
    places = struct.pack(f"<{len(numbers)}Q", *numbers)
    return pack_record(
        RecordKind.MESSAGE_INDEX, struct.pack("<HI", channel_id, len(places)) + places
    )


def _pack_chunk_index(
    chunk: McapChunk, begin: int, length: int, places: dict[int, int], index_bytes: int
) -> bytes:
    entries = b"".join(struct.pack("<HQ", *place) for place in places.items())
    content = b"".join(
        (
            struct.pack("<QQQQ", chunk.begin_ns, chunk.end_ns, begin, length),
            struct.pack("<I", len(entries)),
            entries,
            struct.pack("<Q", index_bytes),
            pack_text(chunk.compression),
            struct.pack("<QQ", len(chunk.data), chunk.size),
        )
    )
    return pack_record(RecordKind.CHUNK_INDEX, content)


def _find_lz4() -> Any:
    """Return lz4's module for frames; None where it is not installed."""
    try:
        import lz4.frame
    except ImportError:
        return None
    return lz4.frame
