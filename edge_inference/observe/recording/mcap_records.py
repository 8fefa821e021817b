"""The records of MCAP files (https://mcap.dev/spec): their layout, packed and unpacked.

A file is ``MAGIC``, records, ``MAGIC``. A record is its kind (1 byte), its length (8 bytes) and its
content. Numbers are little-endian, times are nanoseconds since 1970.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from edge_inference.errors import InputError

MAGIC = b"\x89MCAP0\r\n"
#: Kind and length of a record.
RECORD_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQI")
_MESSAGE_WITH_HEAD = struct.Struct("<BQHIQQ")


class RecordKind(IntEnum):
    """The first byte of a record."""

    HEADER = 1
    FOOTER = 2
    SCHEMA = 3
    CHANNEL = 4
    MESSAGE = 5
    CHUNK = 6
    MESSAGE_INDEX = 7
    CHUNK_INDEX = 8
    ATTACHMENT = 9
    STATISTICS = 11
    METADATA = 12
    SUMMARY_OFFSET = 14
    DATA_END = 15


@dataclass(frozen=True)
class McapSchema:
    """The definition of a message type; ``encoding`` says in which language ``data`` is."""

    id: int
    name: str
    encoding: str
    data: bytes

    def pack(self) -> bytes:
        """Return the record."""
        texts = pack_text(self.name) + pack_text(self.encoding)
        content = struct.pack("<H", self.id) + texts + struct.pack("<I", len(self.data)) + self.data
        return pack_record(RecordKind.SCHEMA, content)

    @classmethod
    def unpack(cls, content: bytes) -> McapSchema:
        """Read a record's content; raises InputError if it is cut short."""
        reader = _ContentReader(content)
        return cls(reader.number("H"), reader.text(), reader.text(), reader.take(reader.number()))


@dataclass(frozen=True)
class McapChannel:
    """A topic, the schema of its messages and their encoding."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Return the record."""
        entries = b"".join(pack_text(key) + pack_text(text) for key, text in self.metadata.items())
        content = b"".join(
            (
                struct.pack("<HH", self.id, self.schema_id),
                pack_text(self.topic),
                pack_text(self.encoding),
                struct.pack("<I", len(entries)),
                entries,
            )
        )
        return pack_record(RecordKind.CHANNEL, content)

    @classmethod
    def unpack(cls, content: bytes) -> McapChannel:
        """Read a record's content; raises InputError if it is cut short."""
        reader = _ContentReader(content)
        number, schema_id = reader.number("H"), reader.number("H")
        topic, encoding = reader.text(), reader.text()
        entries = _ContentReader(reader.take(reader.number()))
        metadata = {}
        while not entries.is_at_end:
            key = entries.text()
            metadata[key] = entries.text()
        return cls(number, schema_id, topic, encoding, metadata)


@dataclass(frozen=True)
class McapMessage:
    """A message, ``log_ns`` when it was recorded and ``publish_ns`` when it was made."""

    channel_id: int
    sequence: int
    log_ns: int
    publish_ns: int
    data: bytes

    def pack(self) -> bytes:
        """Return the record."""
        length = _MESSAGE.size + len(self.data)
        times = (self.log_ns, self.publish_ns)
        head = _MESSAGE_WITH_HEAD.pack(
            RecordKind.MESSAGE, length, self.channel_id, self.sequence, *times
        )
        return head + self.data

    @classmethod
    def unpack(cls, content: bytes) -> McapMessage:
        """Read a record's content; raises InputError if it is cut short."""
        if len(content) < _MESSAGE.size:
            raise InputError(f"message: expected {_MESSAGE.size} bytes or more, got {len(content)}")
        channel_id, sequence, log_ns, publish_ns = _MESSAGE.unpack_from(content)
        return cls(channel_id, sequence, log_ns, publish_ns, content[_MESSAGE.size :])


@dataclass(frozen=True)
class McapChunk:
    """Records that are compressed together: ``size`` bytes with the checksum ``crc`` (0: none).

    The times are those of its first and its last message.
    """

    begin_ns: int
    end_ns: int
    size: int
    crc: int
    compression: str
    data: bytes

    def pack(self) -> bytes:
        """Return the record."""
        content = b"".join(
            (
                _CHUNK.pack(self.begin_ns, self.end_ns, self.size, self.crc),
                pack_text(self.compression),
                struct.pack("<Q", len(self.data)),
                self.data,
            )
        )
        return pack_record(RecordKind.CHUNK, content)

    @classmethod
    def unpack(cls, content: bytes) -> McapChunk:
        """Read a record's content; raises InputError if it is cut short."""
        reader = _ContentReader(content)
        begin_ns, end_ns, size, crc = (reader.number(code) for code in "QQQI")
        return cls(begin_ns, end_ns, size, crc, reader.text(), reader.take(reader.number("Q")))


def pack_record(kind: RecordKind, content: bytes) -> bytes:
    """Return a record."""
    return RECORD_HEAD.pack(kind, len(content)) + content


def pack_text(text: str) -> bytes:
    """Return a text, as it is in records."""
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def unpack_profile(content: bytes) -> str:
    """Return which conventions a file follows, from the content of its header."""
    return _ContentReader(content).text()


def split_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each record in a chunk; raises InputError if the last is cut."""
    reader = _ContentReader(data)
    while not reader.is_at_end:
        kind = reader.number("B")
        yield kind, reader.take(reader.number("Q"))


class _ContentReader:
    """Reads fields in order; raises InputError where the content ends before."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._content)

    def number(self, code: str = "I") -> int:
        (value,) = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))
        return int(value)

    def text(self) -> str:
        return self.take(self.number()).decode("utf-8", errors="replace")

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._content):
            raise InputError(
                f"record: expected {length} more bytes at byte {self._at}, got "
                f"{len(self._content) - self._at}"
            )
        found = self._content[self._at : end]
        self._at = end
        return found
