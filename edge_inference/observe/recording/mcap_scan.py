"""Reads an MCAP file from its beginning, also one that was never finished or is damaged."""

from __future__ import annotations

import importlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from edge_inference.core.bounded_file import ANY_SIZE, open_regular_file
from edge_inference.core.package_import import explain_import
from edge_inference.errors import ConfigError, InputError
from edge_inference.observe.recording.mcap_records import (
    MAGIC,
    RECORD_HEAD,
    McapChannel,
    McapChunk,
    McapMessage,
    McapSchema,
    RecordKind,
    split_records,
    unpack_profile,
)

#: The largest record, and the largest chunk after decompression, that is read.
MAX_RECORD_BYTES = 1 << 30
#: Compressions of chunks, and the module that undoes each.
_MODULES = {"lz4": "lz4.frame", "zstd": "zstandard"}


class McapScan:
    """One pass through an MCAP file; the figures are those of what was read so far.

    Raises ConfigError for a file that cannot be read, or is no MCAP file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.profile = ""
        #: Bytes of the file.
        self.size = 0
        self.schemas: dict[int, McapSchema] = {}
        self.channels: dict[int, McapChannel] = {}
        #: Whether the file was finished: its index follows its messages.
        self.is_finished = False
        #: Bytes at the end that are no whole record.
        self.cut_bytes = 0
        #: Chunks, and records outside of chunks, whose content is wrong.
        self.damaged = 0
        #: Messages of channels that the file does not describe.
        self.unknown = 0
        #: Attachments and metadata, which are not read.
        self.others = 0

    def messages(self) -> Iterator[tuple[McapChannel, McapMessage]]:
        """Yield every whole message with its channel, in the order of the file.

        Raises ConfigError where the package for a chunk's compression is missing.
        """
        try:
            with open_regular_file(self.file, ANY_SIZE) as stream:
                yield from self._messages(stream)
        except OSError as error:
            raise ConfigError(f"{self.file}: cannot be read: {error.strerror}") from error

    def _messages(self, stream: IO[bytes]) -> Iterator[tuple[McapChannel, McapMessage]]:
        if stream.read(len(MAGIC)) != MAGIC:
            raise ConfigError(f"{self.file}: expected an MCAP file, got another one, or none")
        for kind, content in self._records(stream):
            is_chunk = kind == RecordKind.CHUNK
            for record in self._open_chunk(content) if is_chunk else [(kind, content)]:
                yield from self._read(*record)

    def _records(self, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield kind and content of each whole record before the index."""
        self.size = size = os.fstat(stream.fileno()).st_size
        at = len(MAGIC)
        kind: int = RecordKind.HEADER
        while kind != RecordKind.DATA_END:
            head = stream.read(RECORD_HEAD.size)
            end = at + RECORD_HEAD.size
            if len(head) == RECORD_HEAD.size:
                kind, length = RECORD_HEAD.unpack(head)
                end += length
            if len(head) < RECORD_HEAD.size or end > size or length > MAX_RECORD_BYTES:
                self.cut_bytes = size - at
                return
            content = stream.read(length)
            if len(content) < length:  # the file has become shorter meanwhile
                self.cut_bytes = size - at
                return
            at = end
            yield kind, content
        stream.seek(size - len(MAGIC))
        self.is_finished = stream.read() == MAGIC
        self.cut_bytes = 0 if self.is_finished else size - at

    def _open_chunk(self, content: bytes) -> list[tuple[int, bytes]]:
        """Return the records of a chunk; none, and count it, if it is damaged."""
        try:
            chunk = McapChunk.unpack(content)
            if chunk.size > MAX_RECORD_BYTES:
                raise InputError(f"chunk: expected at most {MAX_RECORD_BYTES} bytes")
            data = _decompress(chunk, self.file)
            if chunk.crc and zlib.crc32(data) != chunk.crc:
                raise InputError("chunk: its checksum is wrong")
            return list(split_records(data))
        except InputError:
            self.damaged += 1
            return []

    def _read(self, kind: int, content: bytes) -> Iterator[tuple[McapChannel, McapMessage]]:
        try:
            if kind == RecordKind.HEADER:
                self.profile = unpack_profile(content)
            elif kind == RecordKind.SCHEMA:
                schema = McapSchema.unpack(content)
                self.schemas[schema.id] = schema
            elif kind == RecordKind.CHANNEL:
                channel = McapChannel.unpack(content)
                self.channels[channel.id] = channel
            elif kind in (RecordKind.ATTACHMENT, RecordKind.METADATA):
                self.others += 1
            elif kind == RecordKind.MESSAGE:
                message = McapMessage.unpack(content)
                if message.channel_id in self.channels:
                    yield self.channels[message.channel_id], message
                else:
                    self.unknown += 1
        except InputError:
            self.damaged += 1


def _decompress(chunk: McapChunk, file: Path) -> bytes:
    """Return the records of a chunk; raises InputError where they are damaged."""
    data = chunk.data
    if chunk.compression:
        if chunk.compression not in _MODULES:
            raise InputError(f"chunk: no known compression: {chunk.compression!r:.40}")
        module = _import_module(_MODULES[chunk.compression], file)
        try:
            # Not more than the chunk claims, whatever its data expands to.
            if chunk.compression == "lz4":
                data = module.LZ4FrameDecompressor().decompress(data, max_length=chunk.size)
            else:
                data = module.ZstdDecompressor().stream_reader(data).read(chunk.size)
        except Exception as error:  # each package has errors of its own
            raise InputError(f"chunk: cannot be decompressed: {error}") from error
    if len(data) != chunk.size:
        raise InputError(f"chunk: expected {chunk.size} bytes, got {len(data)}")
    return bytes(data)


def _import_module(name: str, file: Path) -> Any:
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{file}: {explain_import(package, package, error)}") from error
